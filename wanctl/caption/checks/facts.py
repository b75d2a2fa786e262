"""What was measured of a clip: hints for a model, and what its captions are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wanctl.caption.camera import sure_camera_motions
from wanctl.caption.measured_words import Evidence, looks, visible_texts

_Box = tuple[float, float, float, float]
_SAME_LINE = 0.7
"""Overlap (intersection over union) from which boxes in two frames hold the same line of text."""


@dataclass(frozen=True)
class MeasuredFacts:
    """Facts about one clip; None or empty where nothing was measured.

    Attributes:
        duration_s: seconds; 0 for a still image.
        camera: rows of CAMERA_MOTIONS that the motion filter is sure of; ("still",) for a camera
            that stands; None where it is not sure.
        texts: that OCR read, each once; None where it did not run.
        counts: object -> number, where a detector is sure of it.
        shot_size: e.g. `close-up`; None where it was not measured.
        category: label of the category filter.
        motion: label of the motion filter: its tier.
        looks: phrases on light and focus.
        has_unread_text: whether frames show text that OCR found and did not read, so that text
            which is not in `texts` may be there.
    """

    duration_s: float
    camera: tuple[str, ...] | None
    texts: tuple[str, ...] | None
    counts: Mapping[str, int]
    shot_size: str | None
    category: str | None
    motion: str | None
    looks: tuple[str, ...]
    has_unread_text: bool = False


@dataclass(frozen=True)
class Finding:
    """A check that a caption fails.

    Attributes:
        check: name of the check.
        reason: one line that a model can act on when it is asked again.
    """

    check: str
    reason: str

    def __str__(self) -> str:
        return f"{self.check}: {self.reason}"


def measured_facts(duration_s: float, evidence: Evidence) -> MeasuredFacts:
    """The facts of one clip from what the filters measured.

    Args:
        duration_s: seconds; 0 for a still image.
        evidence: filter name -> its measurements, with the clip's label in the selection as
            `label`. Of `motion`, `ocr`, `exposure`, `blur`, `category` and a plug-in's
            `shot_size` what is there counts; a detector's counts come from `with_counts`.
    """
    texts = evidence.get("ocr", {}).get("texts")
    return MeasuredFacts(
        duration_s=duration_s,
        camera=sure_camera_motions(evidence.get("motion", {})) if duration_s > 0 else None,
        texts=None if texts is None else tuple(visible_texts(evidence)),
        counts={},
        shot_size=_label(evidence, "shot_size"),
        category=_label(evidence, "category"),
        motion=_label(evidence, "motion"),
        looks=tuple(looks(evidence)),
        has_unread_text=_has_unread_text(evidence.get("ocr", {})),
    )


def with_counts(facts: MeasuredFacts, counts: Mapping[str, int]) -> MeasuredFacts:
    """The facts with the numbers of objects that a detector is sure of."""
    return replace(facts, counts=dict(counts))


def _has_unread_text(ocr: Mapping[str, Any]) -> bool:
    """Whether some text of the clip was found and not read.

    The filter reads the lines of the frame with most text. Text elsewhere in other frames, such as
    subtitles that change, is found and not read.
    """
    frames = ocr.get("polygons") or ()
    fullest = max(frames, key=lambda frame: sum(map(_area, frame)), default=())
    read = [_box(polygon) for polygon in fullest]
    if len(ocr.get("texts") or ()) < len(read):
        return True
    return any(
        all(_overlap(_box(polygon), box) < _SAME_LINE for box in read)
        for frame in frames
        for polygon in frame
    )


def _box(polygon: Sequence[float]) -> _Box:
    return min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])


def _area(polygon: Sequence[float]) -> float:
    left, top, right, bottom = _box(polygon)
    return (right - left) * (bottom - top)


def _overlap(first: _Box, second: _Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / max(sum(sizes) - common, 1e-9)


def _label(evidence: Evidence, name: str) -> str | None:
    label = evidence.get(name, {}).get("label")
    return label if isinstance(label, str) and label else None
