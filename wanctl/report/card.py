"""Describes a data set under one selection: the facts of its data card."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.evidence import missing_parts
from wanctl.curate.select.overrides import OVERRIDE
from wanctl.data.card import Card, count_captions, write_card
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_rows
from wanctl.data.provenance import decision_of, detectors_of
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
    detectors = detectors_of(dataset) or [recipe.detector]
    hashes = _filters_that_ran(dataset, recipe)
    known = {named.name: named for named in recipe.filters}
    decided = DecidedClips.of(clips, selection, list(hashes))
    return Card(
        made_by=f"wanctl {version('wanctl')}",
        recipe=recipe.name,
        recipe_hash=recipe.hash,
        selection=recipe.selection,
        license=recipe.license,
        sources={
            "files": len(dataset.sources) - len(dataset.removed),
            "used": _pc.count_distinct(mine["source"]).as_py(),
        },
        clips={
            "all": clips.num_rows,
            "kept": mine.num_rows,
            "seconds": round(float(decided.span_seconds()[decided.kept].sum()), 3),
            **_by_people(selection[OVERRIDE]),
        },
        split={
            "detector": ", ".join(detectors),
            "models": dict(
                pair for name in detectors for pair in DETECTOR_MODELS.get(name, {}).items()
            ),
        },
        filters=[
            {
                "name": name,
                **_settings(known.get(name), config_hash),
                **_counts(decided.dropped, column),
            }
            for column, (name, config_hash) in enumerate(hashes.items())
        ],
        captions=count_captions(dataset, set(mine["id"].to_pylist())),
        quarantine=dict(sorted(Counter(dataset.read("quarantine")["kind"].to_pylist()).items())),
    )


def write_dataset_card(dataset: DatasetDir, recipe: RecipeFacts) -> None:
    """Write the card into the data set directory, where it has no more than MAX_CLIPS clips."""
    if sum(dataset.count("clips", part) for part in dataset.parts("clips")) <= MAX_CLIPS:
        write_card(dataset.path, describe(dataset, recipe))


def _by_people(column: pa.ChunkedArray) -> dict[str, int]:
    """Clips that people keep and drop against the filters; empty where there are none."""
    kept, dropped = (
        _pc.sum(_pc.starts_with(column, pattern=each)).as_py() or 0 for each in ("keep:", "drop:")
    )
    return {"kept_by_people": kept, "dropped_by_people": dropped} if kept or dropped else {}


def _filters_that_ran(dataset: DatasetDir, recipe: RecipeFacts) -> dict[str, str]:
    """Filter -> hash of its measuring settings, of those that decided the selection.

    Without a record, those of the recipe that have measured every part.
    """
    recorded = decision_of(dataset, recipe.selection)
    if recorded is not None:
        return recorded
    ran = [named for named in recipe.filters if not missing_parts(dataset, named)]
    return {named.name: named.filter.config_hash() for named in ran}


def _settings(named: NamedFilter | None, config_hash: str) -> dict[str, Any]:
    """Version, hash and models of a filter; of one that the recipe sets otherwise, the hash alone.

    Args:
        named: the recipe's filter of that name; None where it has none.
        config_hash: of the measuring settings that the selection was decided with.
    """
    if named is None or named.filter.config_hash() != config_hash:
        return {"version": "not in this recipe", "config_hash": config_hash, "models": {}}
    embedder = named.filter.embedder()
    seen = dict(embedder.models()) if embedder else {}
    return {
        "version": named.filter.version,
        "config_hash": config_hash,
        "models": {**seen, **named.filter.models()},
    }


def _counts(dropped: np.ndarray, column: int) -> dict[str, int]:
    """Clips left after a filter and all before it, clips that it drops, and that it alone drops."""
    mine = dropped[:, column]
    return {
        "left": int((~dropped[:, : column + 1].any(axis=1)).sum()),
        "drops": int(mine.sum()),
        "alone": int((mine & (dropped.sum(axis=1) == 1)).sum()),
    }
