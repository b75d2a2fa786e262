"""The data card: what a data set is made of, for people (README.md) and programs (datacard.json).

It depends on the data and the recipe alone, so that equal data sets have equal cards: no dates.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import name_of
from wanctl.escaping import markdown_code, markdown_text, yaml_text

NOT_STATED = "not stated"


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
        clips: all, kept; seconds of kept ones; kept and dropped by people, where there are any.
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


def write_card(folder: Path, card: Card, hub_files: Sequence[str] = ()) -> None:
    """Write README.md and datacard.json into a folder.

    Args:
        folder: receives them.
        card: what they say.
        hub_files: patterns of the files that Hugging Face `datasets` is to read. Without them it
            guesses the format from the endings of all files, in which the card's .json count.

    Raises:
        WriteError: they cannot be written.
    """
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n"
    write_bytes(folder / "datacard.json", text.encode())
    write_bytes(folder / "README.md", _page(card, hub_files).encode())


def count_captions(dataset: DatasetDir, kept: Collection[str]) -> list[dict[str, Any]]:
    """Backend, key, captioned clips and captions of every caption table, for kept clips."""
    counts = []
    for table in dataset.tables("captions"):
        rows = dataset.read(table, ["id", "text"]).to_pylist()
        # a rejected caption has no text
        ids = [row["id"] for row in rows if row["id"] in kept and row["text"]]
        if not ids:  # it wrote nothing that this selection uses
            continue
        counts.append(
            {
                "backend": name_of(table),
                "key": table.partition("@")[2],
                "clips": len(set(ids)),
                "captions": len(ids),
            }
        )
    return counts


def refresh_captions(dataset: DatasetDir, kept: Collection[str]) -> None:
    """Bring the captions in a data set's card up to date, where it has one."""
    path = dataset.path / "datacard.json"
    if not path.is_file():
        return
    try:
        card = Card(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):  # of another version; the next selection writes it anew
        return
    write_card(dataset.path, replace(card, captions=count_captions(dataset, kept)))


def _page(card: Card, hub_files: Sequence[str]) -> str:
    stated = card.license != NOT_STATED
    front = ["license: other", f"license_name: {yaml_text(card.license)}"]
    lines = [
        "---",
        *(front if stated else ["license: unknown"]),
        *(["configs:", "- config_name: default", "  data_files:"] if hub_files else []),
        *(f"  - {yaml_text(pattern)}" for pattern in hub_files),
        "---",
        "",
        f"# {markdown_text(card.recipe)}: {card.clips['kept']} clips",
        "",
        f"Made by {markdown_text(card.made_by)} with the recipe {markdown_code(card.recipe)} "
        f"(sha256 `{card.recipe_hash[:16]}`), selection {markdown_code(card.selection)}.",
        "",
        "| | |",
        "|---|---|",
        f"| licence of the footage | {markdown_text(card.license)} |",
        f"| source files | {card.sources['files']}, {card.sources['used']} of them used |",
        f"| clips | {card.clips['all']} found, {card.clips['kept']} kept, "
        f"{card.clips['seconds']:g} s |",
        *_by_people(card),
        f"| shots found by | {markdown_text(card.split['detector'])}"
        f"{_licences(card.split['models'])} |",
        f"| set aside | {_counts(card.quarantine)} |",
    ]
    if card.exported:
        lines.append(
            f"| exported as {markdown_code(card.layout)} | {card.exported['clips']} clips, "
            f"{card.exported['seconds']:g} s, {card.exported['without_caption']} without caption |"
        )
    lines += ["", "## Filters", ""]
    lines += ["| filter | version | settings | left | drops | only it | models |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {markdown_text(row['name'])} | {row['version']} | "
        f"{markdown_code(row['config_hash'])} | {row['left']} | "
        f"{row['drops']} | {row['alone']} | {_licences(row['models']).strip(' ()')} |"
        for row in card.filters
    ]
    lines += ["", "## Captions", "", "| backend | key | clips | captions |", "|---|---|---|---|"]
    lines += [
        f"| {markdown_text(row['backend'])} | {markdown_code(row['key'])} | {row['clips']} | "
        f"{row['captions']} |"
        for row in card.captions
    ]
    return "\n".join(lines) + "\n"


def _by_people(card: Card) -> list[str]:
    kept, dropped = (card.clips.get(f"{each}_by_people", 0) for each in ("kept", "dropped"))
    return (
        [f"| against the filters | people keep {kept}, drop {dropped} |"] if kept + dropped else []
    )


def _licences(models: Mapping[str, str]) -> str:
    each = (f"{markdown_text(name)}: {markdown_text(text)}" for name, text in models.items())
    text = "; ".join(each)
    return f" ({text})" if text else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {markdown_text(kind)}" for kind, n in counts.items()) or "nothing"
