"""What was measured of a clip: hints for a model, and what its captions are held against."""

from collections.abc import Mapping
from dataclasses import dataclass


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
    """

    duration_s: float
    camera: tuple[str, ...] | None
    texts: tuple[str, ...] | None
    counts: Mapping[str, int]
    shot_size: str | None
    category: str | None
    motion: str | None
    looks: tuple[str, ...]


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
