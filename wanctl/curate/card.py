"""The data card: what a data set is made of, for people (README.md) and programs (datacard.json).

It hangs on the data and the recipe alone, so that equal data sets have equal cards: no dates.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wanctl.curate.registry import NamedFilter, build_filters
from wanctl.data.atomic import write_bytes
from wanctl.data.captions import backend_of
from wanctl.data.dataset import DatasetDir
from wanctl.recipe.load import LoadedRecipe

DETECTOR_MODELS = {"transnetv2": {"TransNetV2": "MIT"}}


@dataclass(frozen=True)
class Card:
    """One data set. Counts are of clips unless they say otherwise.

    Attributes:
        made_by: program and version.
        recipe: name of the recipe.
        recipe_hash: sha256 of the resolved recipe.
        selection: name of the selection.
        license: of the footage, as the recipe states it.
        sources: number of source files, and of those that a kept clip comes from.
        clips: all, kept; seconds of kept ones.
        split: shot detector and its models with their licences.
        filters: name, version, config hash, models and licences, funnel counts.
        captions: tables with backend, key, captioned clips and captions.
        quarantine: kind of failure -> how many files and clips.
        layout: of an export; empty on the data set itself.
        exported: clips, seconds, clips without caption, captions.
    """

    made_by: str
    recipe: str
    recipe_hash: str
    selection: str
    license: str
    sources: Mapping[str, int]
    clips: Mapping[str, Any]
    split: Mapping[str, Any]
    filters: Sequence[Mapping[str, Any]]
    captions: Sequence[Mapping[str, Any]]
    quarantine: Mapping[str, int]
    layout: str = ""
    exported: Mapping[str, Any] = field(default_factory=dict)


def describe(dataset: DatasetDir, loaded: LoadedRecipe) -> Card:
    """Count what is in a data set now, under one selection."""
    recipe = loaded.recipe
    table = f"selections/{recipe.dataset.selection}"
    selection = dataset.read(table, ["id", "kept", "reasons"]).to_pylist()
    kept = {row["id"] for row in selection if row["kept"]}
    clips = dataset.clips(["id", "source", "start_s", "end_s"]).to_pylist()
    mine = [clip for clip in clips if clip["id"] in kept]
    detector = recipe.curate.split.detector
    return Card(
        made_by=f"wanctl {version('wanctl')}",
        recipe=loaded.name,
        recipe_hash=hashlib.sha256(loaded.dump().encode()).hexdigest(),
        selection=recipe.dataset.selection,
        license=recipe.dataset.license,
        sources={
            "files": len(dataset.sources),
            "used": len({clip["source"] for clip in mine}),
        },
        clips={
            "all": len(clips),
            "kept": len(mine),
            "seconds": round(sum(clip["end_s"] - clip["start_s"] for clip in mine), 3),
        },
        split={
            "detector": detector,
            "models": DETECTOR_MODELS.get("transnetv2" if detector == "auto" else detector, {}),
        },
        filters=_filters(build_filters(recipe.curate.filters), selection),
        captions=_captions(dataset, kept),
        quarantine=dict(sorted(Counter(dataset.read("quarantine")["kind"].to_pylist()).items())),
    )


def write_card(folder: Path, card: Card) -> None:
    """Write README.md and datacard.json into a folder.

    Raises:
        WriteError: they cannot be written.
    """
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n"
    write_bytes(folder / "datacard.json", text.encode())
    write_bytes(folder / "README.md", _page(card).encode())


def _filters(
    filters: Sequence[NamedFilter], selection: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Settings of each filter, and the clips that are left after it, and that it would drop."""
    dropped = [{reason.partition(":")[0] for reason in row["reasons"]} for row in selection]
    before: set[str] = set()
    rows = []
    for named in filters:
        before.add(named.name)
        rows.append(
            {
                "name": named.name,
                "version": named.filter.version,
                "config_hash": named.filter.config_hash(),
                "models": dict(named.filter.models()),
                "left": sum(before.isdisjoint(names) for names in dropped),
                "drops": sum(named.name in names for names in dropped),
                "alone": sum(names == {named.name} for names in dropped),
            }
        )
    return rows


def _captions(dataset: DatasetDir, kept: set[str]) -> list[dict[str, Any]]:
    found = []
    for table in dataset.tables("captions"):
        ids = [each for each in dataset.read(table, ["id"])["id"].to_pylist() if each in kept]
        found.append(
            {
                "backend": backend_of(table),
                "key": table.partition("@")[2],
                "clips": len(set(ids)),
                "captions": len(ids),
            }
        )
    return found


def _page(card: Card) -> str:
    stated = card.license != "not stated"
    front = ["license: other", f"license_name: {json.dumps(card.license)}"]
    lines = [
        "---",
        *(front if stated else ["license: unknown"]),
        "---",
        "",
        f"# {card.recipe}: {card.clips['kept']} clips",
        "",
        f"Made by {card.made_by} with the recipe `{card.recipe}` (sha256 "
        f"`{card.recipe_hash[:16]}`), selection `{card.selection}`.",
        "",
        "| | |",
        "|---|---|",
        f"| licence of the footage | {card.license} |",
        f"| source files | {card.sources['files']}, {card.sources['used']} of them used |",
        f"| clips | {card.clips['all']} found, {card.clips['kept']} kept, "
        f"{card.clips['seconds']:g} s |",
        f"| shots found by | {card.split['detector']}{_licences(card.split['models'])} |",
        f"| set aside | {_counts(card.quarantine)} |",
    ]
    if card.exported:
        lines.append(
            f"| exported as `{card.layout}` | {card.exported['clips']} clips, "
            f"{card.exported['seconds']:g} s, {card.exported['without_caption']} without caption |"
        )
    lines += ["", "## Filters", ""]
    lines += ["| filter | version | settings | left | drops | only it | models |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['version']} | `{row['config_hash']}` | {row['left']} | "
        f"{row['drops']} | {row['alone']} | {_licences(row['models']).strip(' ()')} |"
        for row in card.filters
    ]
    lines += ["", "## Captions", "", "| backend | key | clips | captions |", "|---|---|---|---|"]
    lines += [
        f"| {row['backend']} | `{row['key']}` | {row['clips']} | {row['captions']} |"
        for row in card.captions
    ]
    return "\n".join(lines) + "\n"


def _licences(models: Mapping[str, str]) -> str:
    told = "; ".join(f"{name}: {licence}" for name, licence in models.items())
    return f" ({told})" if told else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
