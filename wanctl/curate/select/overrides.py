"""What people decide on single clips against the filters: `overrides.json` in the data set.

The report collects overrides and writes this file; `wanctl data select` and `wanctl curate` apply
it to every selection. A clip's id depends on its footage alone, so overrides survive both commands.

    {"overrides": [{"id": "9f3a...", "keep": true, "reason": "the text is a shop sign"}]}
"""

import datetime
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.atomic import write_bytes
from wanctl.errors import UserError
from wanctl.escaping import one_line
from wanctl.log import log
from wanctl.textfiles import read_text

_pc: Any = pc  # its functions are unknown to type checkers

OVERRIDE = "override"
"""Name of the funnel's row, and of the column of a selection."""
FILE = "overrides.json"
MAX_REASON = 300
"""Characters of a reason."""
_KEYS = {"id", "keep", "reason", "time"}


@dataclass(frozen=True)
class Override:
    """A person's decision on one clip.

    Attributes:
        keep: keep the clip whatever the filters say; False drops it.
        reason: why, one line.
        time: when it was decided, ISO 8601; "" where the file does not say.
    """

    keep: bool
    reason: str
    time: str = ""

    @classmethod
    def now(cls, *, keep: bool, reason: str) -> "Override":
        """A decision of this moment."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(keep, _checked_reason(reason), now)

    @property
    def text(self) -> str:
        """As in the column `override` of a selection: "keep: reason" or "drop: reason"."""
        return f"{'keep' if self.keep else 'drop'}: {self.reason}"


def read_overrides(dataset: Path) -> dict[str, Override]:
    """Clip id -> override, of a data set directory; empty where it has no such file.

    Raises:
        UserError: the file is not of the form above; names the entry and what is wrong with it.
    """
    path = dataset / FILE
    if not path.exists():
        return {}
    try:
        entries = json.loads(read_text(path))["overrides"]
        pairs = [(number, dict(entry)) for number, entry in enumerate(entries, start=1)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f'{path}: not a file of overrides, {{"overrides": [{{"id": ..., "keep": true, '
            f'"reason": ...}}]}} ({error}); save it again in report.html, or remove it'
        ) from None
    overrides: dict[str, Override] = {}
    for number, entry in pairs:
        try:
            clip, override = _parse(entry)
            if clip in overrides:
                raise ValueError(f"the clip {clip!r} has an override before it")
        except ValueError as error:
            raise UserError(f"{path}: entry {number}: {error}") from None
        overrides[clip] = override
    return overrides


def write_overrides(dataset: Path, overrides: Mapping[str, Override]) -> None:
    """Write the file, one clip a line; no file where there are no overrides."""
    path = dataset / FILE
    if not overrides:
        path.unlink(missing_ok=True)
        return
    write_bytes(path, overrides_json(overrides).encode())


def overrides_json(overrides: Mapping[str, Override]) -> str:
    """The file's text; the page writes the same."""
    lines = [
        json.dumps(entry_of(clip, each), ensure_ascii=False)
        for clip, each in sorted(overrides.items())
    ]
    return '{"overrides": [\n' + ",\n".join(lines) + "\n]}\n"


def entry_of(clip: str, override: Override) -> dict[str, Any]:
    """One entry of the file."""
    entry = {"id": clip, "keep": override.keep, "reason": override.reason}
    return {**entry, "time": override.time} if override.time else entry


@dataclass(frozen=True)
class ClipOverrides:
    """The overrides of some clips, row by row.

    Attributes:
        keep: (N,) bool, clips that a person keeps.
        drop: (N,) bool, clips that a person drops.
        texts: (N,) "keep: reason", "drop: reason", or null.
    """

    keep: np.ndarray
    drop: np.ndarray
    texts: pa.Array

    @classmethod
    def of(cls, ids: pa.ChunkedArray, overrides: Mapping[str, Override]) -> "ClipOverrides":
        """Join clips with overrides by id."""
        if not overrides:
            none = np.zeros(len(ids), dtype=bool)
            return cls(none, none, pa.nulls(len(ids), pa.string()))
        place = _pc.index_in(ids, value_set=pa.array(list(overrides), pa.string()))
        place = pa.concat_arrays(place.chunks) if isinstance(place, pa.ChunkedArray) else place
        rows = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
        keep = np.zeros((2, len(ids)), dtype=bool)
        decided = np.array([each.keep for each in overrides.values()], dtype=bool)
        keep[:, rows] = decided[place.drop_null().to_numpy()] == np.array([[True], [False]])
        texts = pa.array([each.text for each in overrides.values()], pa.string())
        return cls(keep[0], keep[1], texts.take(place))

    def reason(self, row: int) -> str:
        """The reason on one clip."""
        return self.texts[row].as_py().partition(": ")[2]


def warn_of_unknown(overrides: Mapping[str, Override], num_known: int) -> None:
    """Log a warning where only `num_known` of the overrides belong to a clip of the data set."""
    if num_known < len(overrides):
        log.warning(
            "%d of %d overrides in %s are of clips that this data set does not have; they change "
            "nothing (`wanctl data report` lists them)",
            len(overrides) - num_known,
            len(overrides),
            FILE,
        )


class OverrideFile:
    """Changes the file of a data set, one clip at a time. Safe for several threads."""

    def __init__(self, dataset: Path) -> None:
        self._dataset = dataset
        self._lock = threading.Lock()

    def read(self) -> dict[str, Override]:
        """What the file holds now."""
        return read_overrides(self._dataset)

    def change(self, clip: str, override: Override | None) -> dict[str, Override]:
        """Set, or with None remove, the override of a clip; returns all of them."""
        with self._lock:
            overrides = self.read()
            overrides.pop(clip, None)
            if override is not None:
                overrides[clip] = override
            write_overrides(self._dataset, overrides)
        return overrides


def _parse(entry: Mapping[str, Any]) -> tuple[str, Override]:
    if extra := set(entry) - _KEYS:
        raise ValueError(f"unknown key {sorted(extra)[0]!r}; the keys are id, keep, reason, time")
    clip, keep = entry.get("id"), entry.get("keep")
    if not isinstance(clip, str) or not clip:
        raise ValueError("`id` is the id of a clip")
    if not isinstance(keep, bool):
        raise ValueError(f"`keep` of {clip!r} is {keep!r}; it is true or false")
    return clip, Override(keep, _checked_reason(entry.get("reason")), str(entry.get("time") or ""))


def _checked_reason(reason: Any) -> str:
    """A reason as one line.

    Raises:
        ValueError: there is none, or it is too long.
    """
    text = one_line(" ".join(reason.split())) if isinstance(reason, str) else ""
    if not text:
        raise ValueError("`reason` is missing; say why this clip is kept or dropped")
    if len(text) > MAX_REASON:
        raise ValueError(f"`reason` has {len(text)} characters, at most {MAX_REASON}")
    return text
