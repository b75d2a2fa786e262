"""Describes a data set under one selection: the facts of its data card."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow.compute as pc

from wanctl.curate.registry import NamedFilter
from wanctl.data.card import Card, count_captions, write_card
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_rows
from wanctl.report.decided_clips import DecidedClips

_pc: Any = pc  # its functions are unknown to type checkers

MAX_CLIPS = 1_000_000
"""Deciding ten million clips takes a minute; counting them for the card would take another."""

DETECTOR_MODELS = {"transnetv2": {"TransNetV2": "MIT"}}


@dataclass(frozen=True)
class RecipeFacts:
    """What a data card says of the recipe.

    Attributes:
        name: of the recipe.
        hash: sha256 of the resolved recipe, in hex.
        selection: name of the selection.
        license: of the footage.
        detector: the shot detector's name.
        filters: in the recipe's order.
    """

    name: str
    hash: str
    selection: str
    license: str
    detector: str
    filters: Sequence[NamedFilter]


def describe(dataset: DatasetDir, recipe: RecipeFacts) -> Card:
    """Count what is in a data set now, under one selection."""
    selection = dataset.read(f"selections/{recipe.selection}")
    clips = dataset.clips(["id", "source", "start_s", "end_s"])
    kept = kept_rows(dataset, recipe.selection, ["id"])["id"]
    mine = clips.filter(_pc.is_in(clips["id"], value_set=kept.combine_chunks()))
    filters = [named for named in recipe.filters if _ran(dataset, named)]
    decided = DecidedClips.of(clips, selection, [named.name for named in filters])
    return Card(
        made_by=f"wanctl {version('wanctl')}",
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        selection=recipe.selection,
        license=recipe.license,
        sources={
            "files": len(dataset.sources),
            "used": _pc.count_distinct(mine["source"]).as_py(),
        },
        clips={
            "all": clips.num_rows,
            "kept": mine.num_rows,
            "seconds": round(
                float((mine["end_s"].to_numpy() - mine["start_s"].to_numpy()).sum()), 3
            ),
        },
        split={
            "detector": recipe.detector,
            "models": DETECTOR_MODELS.get(
                "transnetv2" if recipe.detector == "auto" else recipe.detector, {}
            ),
        },
        filters=[_facts(named, decided.dropped, i) for i, named in enumerate(filters)],
        captions=count_captions(dataset, set(mine["id"].to_pylist())),
        quarantine=dict(sorted(Counter(dataset.read("quarantine")["kind"].to_pylist()).items())),
    )


def write_dataset_card(dataset: DatasetDir, recipe: RecipeFacts) -> None:
    """Write the card into the data set directory, where it has no more than MAX_CLIPS clips."""
    if sum(dataset.count("clips", part) for part in dataset.parts("clips")) <= MAX_CLIPS:
        write_card(dataset.path, describe(dataset, recipe))


def _ran(dataset: DatasetDir, named: NamedFilter) -> bool:
    """Whether its measurements are there; some filters need none."""
    return not named.filter.evidence or bool(dataset.parts(named.table))


def _facts(named: NamedFilter, dropped: np.ndarray, column: int) -> dict[str, Any]:
    """A filter's settings; clips left after it and all before it, that it drops, and it alone."""
    mine = dropped[:, column]
    embedder = named.filter.embedder()
    seen = dict(embedder.models()) if embedder else {}
    return {
        "name": named.name,
        "version": named.filter.version,
        "config_hash": named.filter.config_hash(),
        "models": {**seen, **named.filter.models()},
        "left": int((~dropped[:, : column + 1].any(axis=1)).sum()),
        "drops": int(mine.sum()),
        "alone": int((mine & (dropped.sum(axis=1) == 1)).sum()),
    }
