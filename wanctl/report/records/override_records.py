"""The overrides of a data set as the page lists them, and whether the selection applies each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.select.overrides import OVERRIDE, Override, entry_of
from wanctl.report.decided_clips import DecidedClips, indices

_pc: Any = pc  # its functions are unknown to type checkers

APPLIED, PENDING, UNKNOWN = "applied", "pending", "unknown"
"""States: the selection was made with it; it was decided later; the data set has no such clip."""


def override_records(
    overrides: Mapping[str, Override], decided: DecidedClips
) -> list[dict[str, Any]]:
    """Every entry of the file, with its state, and the source of its clip."""
    if not overrides:
        return []
    known = _pc.is_in(decided.clips["id"], value_set=pa.array(list(overrides), pa.string()))
    rows = indices(np.flatnonzero(known.to_numpy()).tolist())
    clips = decided.clips.select(["id", "source", "start_s"]).take(rows).to_pylist()
    texts = decided.selection[OVERRIDE].take(rows).to_pylist()
    found = {clip["id"]: (clip, text) for clip, text in zip(clips, texts, strict=True)}
    return [
        {**entry_of(name, override), **_place(override, *found.get(name, (None, None)))}
        for name, override in sorted(overrides.items())
    ]


def _place(override: Override, clip: Mapping[str, Any] | None, text: str | None) -> dict[str, Any]:
    if clip is None:
        return {"state": UNKNOWN}
    state = APPLIED if text == override.text else PENDING
    return {"state": state, "source": clip["source"], "start": round(clip["start_s"], 3)}
