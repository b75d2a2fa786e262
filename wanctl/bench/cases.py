"""What every family of defects is made of: cases with exact truth, and what was found in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from wanctl.bench.material import Material
from wanctl.curate.columns import ClipBatch
from wanctl.video.encode import write_video
from wanctl.video.frames import Box

Render: TypeAlias = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One video file whose defect is known exactly.

    Attributes:
        name: file name without suffix; unique within the family.
        variant: which kind of defect or look-alike; one curve in the plots each.
        dose: strength, on the family's scale; None for footage without the defect.
        positive: whether the filter ought to fire; None where people would disagree, which
            counts for the dose-response curve and for nothing else.
        render: the pictures, (T, H, W, 3) uint8 RGB.
        truth: what else is known: a box, an area, a class.
        fps: frame rate of the file.
        crf: x264's constant rate factor.
        write: writes the file instead of `render`, where more than pictures matters.
    """

    name: str
    variant: str
    dose: float | None
    positive: bool | None
    render: Render | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)
    fps: float = 24.0
    crf: int = 20
    write: Callable[[Path], None] | None = None

    def save(self, path: Path) -> None:
        """Write the file."""
        if self.write is not None:
            self.write(path)
        else:
            assert self.render is not None
            write_video(path, self.render(), self.fps, crf=self.crf)


@dataclass(frozen=True)
class Found:
    """What curation made of one clip.

    Attributes:
        kept: the verdict.
        reasons: why not.
        score: the number that the threshold was compared with.
        crop: what is left of the picture.
        whole: size of the picture.
        label: class or group, where the filter sorts.
        evidence: the filter's own row.
    """

    kept: bool
    reasons: tuple[str, ...]
    score: float | None
    crop: Box
    whole: tuple[int, int]
    label: str | None
    evidence: Mapping[str, Any]

    @property
    def fired(self) -> bool:
        """The clip is dropped, or part of it is cropped away."""
        return not self.kept or (self.crop.width, self.crop.height) != self.whole


@dataclass(frozen=True)
class Outcome:
    """A case and what was found in it: a clip per shot, none where the file was not readable."""

    case: Case
    clips: tuple[Found, ...]


@dataclass(frozen=True)
class Point:
    """One decision, graded.

    Attributes:
        case: the case's name.
        variant: of the case.
        dose: of the case.
        truth: what ought to be; None counts for the dose-response curve only.
        fired: what was said.
        score: how sure, for the precision-recall curve; higher is surer.
        note: shown where truth and decision differ.
    """

    case: str
    variant: str
    dose: float | None
    truth: bool | None
    fired: bool
    score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """One number, with the bar that it has to reach where there is one."""

    what: str
    value: float
    bar: float | None = None
    below: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.below else self.value >= self.bar


@dataclass(frozen=True)
class Graded:
    """What a family makes of its outcomes.

    Attributes:
        points: decisions.
        figures: numbers beyond precision, recall and AP.
        curve: (threshold, precision, recall), where scores of single points give none.
        ap_bar: what the average precision has to reach.
        precision_bar: what the precision has to reach.
    """

    points: Sequence[Point]
    figures: Sequence[Figure] = ()
    curve: Sequence[tuple[float, float, float]] | None = None
    ap_bar: float | None = None
    precision_bar: float | None = None


DEFAULT_SPLIT: Mapping[str, Any] = {"detector": "none", "min_clip_s": 0, "trim_frames": 0}


@dataclass(frozen=True)
class Family:
    """One kind of defect and the filter that has to find it.

    Attributes:
        name: on the command line.
        filter: the recipe's name of the filter.
        summary: one line.
        dose: name and unit of the strength.
        make: cases from clean footage; few of them where the second argument is true.
        grade: what the outcomes are worth.
        split: keys of `curate.split`; files are single clips unless it says otherwise.
        more: (filter, batch of all clips) -> for each clip what its evidence does not say plainly,
            put beside its evidence.
        one_scale: whether the doses of all variants are on one scale.
        judge: stands in for `judge.judge`, where a filter's verdict is not what is measured.
    """

    name: str
    filter: str
    summary: str
    dose: str
    make: Callable[[Material, bool], Sequence[Case]]
    grade: Callable[[Sequence[Outcome]], Graded]
    split: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_SPLIT)
    more: Callable[[Any, ClipBatch], Sequence[Mapping[str, Any]]] | None = None
    one_scale: bool = True
    judge: Callable[..., list["Outcome"]] | None = None


def first_clips(outcomes: Sequence[Outcome]) -> list[tuple[Case, Found]]:
    """Each readable case with its one clip."""
    return [(outcome.case, outcome.clips[0]) for outcome in outcomes if outcome.clips]


def judged(case: Case, found: Found, score: float | None = None, note: str = "") -> Point:
    """A point for a case that is one clip: fired is dropped or cropped."""
    score = found.score if score is None else score
    note = note or "; ".join(found.reasons) or f"score {score if score is not None else '-'}"
    return Point(case.name, case.variant, case.dose, case.positive, found.fired, score, note)
