"""Reads a labelled file: what each clip shows, in the dimensions of the structured pass.

JSON Lines, one clip a line; lines of the same clip are joined. The annotations of CAPability
(arXiv 2502.14914), one element of one file a line, are read as they are published.
docs/caption-eval.md describes both.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.caption.structured.schema import CAMERA_ANGLES, CAMERA_MOTIONS, DIMENSIONS
from wanctl.errors import UserError, unknown

ENUMS = {"camera_angle": CAMERA_ANGLES, "camera_motion": CAMERA_MOTIONS}
SINGLE = ("camera_angle", "scene", "style")
"""Dimensions of which a structure has one value."""
PAIRS = ("object_color", "object_counting")
"""Dimensions that say something about each object."""
OPEN = "unclear"
"""Row of the enumerations that says nothing."""

Alternatives = tuple[str, ...]
"""Values of which each is right."""

_CAPABILITY_TASKS = {
    "action": "action", "event": "event", "camera_angle": "camera_angle",
    "camera_movement": "camera_motion", "object_category": "object_category",
    "object_color": "object_color", "object_number": "object_counting",
    "dynamic_object_number": "object_counting", "OCR": "ocr_text", "scene": "scene",
    "style": "style",
}  # fmt: skip
_CAPABILITY_OTHERS = ("spatial_relation", "character_identification")
_CAPABILITY_VALUES = {
    "camera_movement": {
        "left": ["pan left", "truck left"], "right": ["pan right", "truck right"],
        "up": ["tilt up", "pedestal up"], "down": ["tilt down", "pedestal down"],
        "in": ["zoom in", "push in"], "out": ["zoom out", "pull out"], "fixed": ["still"],
    },
    "camera_angle": {
        "level angle": ["eye level"], "high angle": ["high angle", "overhead", "aerial"],
        "low angle": ["low angle", "ground level"],
    },
}  # fmt: skip


class LabelsError(UserError):
    """A labelled file cannot be read."""


@dataclass
class LabelledClip:
    """What one clip shows.

    Attributes:
        where: FILE:LINE of its first line.
        clip: its id, or the name of its file.
        shot: number of the shot in its file; None: the file is one clip.
        values: dimension -> expected values; each is a tuple of alternatives.
        pairs: dimension of PAIRS -> object -> alternatives.
        partial: dimensions of which the labels name some values only.
    """

    where: str
    clip: str
    shot: int | None
    values: dict[str, list[Alternatives]] = field(default_factory=dict)
    pairs: dict[str, dict[str, Alternatives]] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)

    @property
    def dimensions(self) -> list[str]:
        """The dimensions that are labelled, in the order of DIMENSIONS."""
        return [each for each in DIMENSIONS if each in self.values or each in self.pairs]


def read_labels(path: Path) -> list[LabelledClip]:
    """The clips of a labelled file, in its order.

    Raises:
        LabelsError: the file is missing or empty, or a line is not valid; names the line.
    """
    clips: dict[tuple[str, int | None], LabelledClip] = {}
    for where, row in _rows(path):
        if "task" in row:
            _add_capability(clips, where, row)
            continue
        name, shot = row.pop("clip", None), row.pop("shot", None)
        if not isinstance(name, str) or not name:
            raise LabelsError(f'{where}: no "clip"; write its id or the name of its file')
        if shot is not None and type(shot) is not int:
            raise LabelsError(f'{where}: "shot": got {shot!r}; a number from 0')
        clip = clips.setdefault((name, shot), LabelledClip(where, name, shot))
        partial = row.pop("partial", [])
        if not isinstance(partial, list):
            raise LabelsError(f'{where}: "partial": got {partial!r}; a list of dimensions')
        for dimension in (*row, *partial):
            if dimension not in DIMENSIONS:
                raise LabelsError(f"{where}: {unknown('dimension', str(dimension), DIMENSIONS)}")
        clip.partial |= set(partial)
        for dimension, value in row.items():
            _add(clip, where, dimension, value)
    if not any(clip.dimensions for clip in clips.values()):
        raise LabelsError(
            f"{path}: holds no label; one JSON object a line, see docs/caption-eval.md"
        )
    return list(clips.values())


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise LabelsError(f"{path}: {reason}; --labels takes a JSON Lines file") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise LabelsError(
                f"{where}: is not JSON ({error.msg}, column {error.colno})"
            ) from error
        if not isinstance(row, dict):
            raise LabelsError(f"{where}: got {line.strip()[:40]!r}; a JSON object each line")
        yield where, row


def _add(clip: LabelledClip, where: str, dimension: str, value: Any) -> None:
    if dimension in PAIRS:
        if not isinstance(value, Mapping):
            raise LabelsError(f"{where}: {dimension}: got {value!r}; an object such as {{...}}")
        pairs = clip.pairs.setdefault(dimension, {})
        for name, each in value.items():
            pairs[name] = _alternatives(where, dimension, each)
        return
    values = value if isinstance(value, list) and dimension not in SINGLE else [value]
    clip.values.setdefault(dimension, []).extend(
        _alternatives(where, dimension, each) for each in values
    )


def _alternatives(where: str, dimension: str, value: Any) -> Alternatives:
    """One expected value: a text or a number, or a list of which each is right."""
    several = value if isinstance(value, list) else [value]
    kinds = int if dimension == "object_counting" else str
    if not several or any(type(each) is not kinds or each == "" for each in several):
        kind = "a number" if kinds is int else "a text"
        raise LabelsError(f"{where}: {dimension}: got {value!r}; {kind}, or a list of alternatives")
    for each in several:
        if dimension in ENUMS and each not in ENUMS[dimension]:
            raise LabelsError(f"{where}: {dimension}: {unknown('value', each, ENUMS[dimension])}")
    return tuple(str(each) for each in several)


def _add_capability(
    clips: dict[tuple[str, int | None], LabelledClip], where: str, row: Mapping[str, Any]
) -> None:
    """Add a line of CAPability, which labels one element of what a file shows."""
    task, name = row["task"], Path(str(row.get("file_path", ""))).name
    if task in _CAPABILITY_OTHERS:
        return
    if task not in _CAPABILITY_TASKS:
        raise LabelsError(f"{where}: {unknown('task', str(task), _CAPABILITY_TASKS)}")
    if not name or "annotation" not in row:
        raise LabelsError(f'{where}: no "file_path" or no "annotation"')
    dimension, value = _CAPABILITY_TASKS[task], row["annotation"]
    if isinstance(value, str):
        value = _CAPABILITY_VALUES.get(task, {}).get(value, value)
    clip = clips.setdefault((name, None), LabelledClip(where, name, None))
    clip.partial.add(dimension)
    single = dimension in (*SINGLE, *PAIRS)
    _add(clip, where, dimension, value if single or isinstance(value, str) else [value])
