"""What was measured of a clip: hints for a model, and what its captions are held against."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wanctl.caption.camera import sure_camera_motions
from wanctl.caption.prompt import Evidence, looks, visible_texts


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
    )


def with_counts(facts: MeasuredFacts, counts: Mapping[str, int]) -> MeasuredFacts:
    """The facts with the numbers of objects that a detector is sure of."""
    return replace(facts, counts=dict(counts))


def _label(evidence: Evidence, name: str) -> str | None:
    label = evidence.get(name, {}).get("label")
    return label if isinstance(label, str) and label else None
