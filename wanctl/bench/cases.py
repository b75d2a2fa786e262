"""The parts of every family of defects: cases with exact truth, results of curation, metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from wanctl.bench.footage import CleanFootage
from wanctl.bench.settings import BenchSettings
from wanctl.curate.columns import ClipBatch
from wanctl.video.encode import write_video
from wanctl.video.frames import Box

Render: TypeAlias = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One video file whose defect is known exactly.

    Attributes:
        name: file name without suffix; unique within the family.
        variant: kind of defect or look-alike; one curve in the plots each.
        dose: strength, on the family's scale; None for footage without the defect.
        positive: whether the filter ought to fire; None where people would disagree, which
            counts for the dose-response curve and for nothing else.
        render: returns the frames, (T, H, W, 3) uint8 RGB.
        truth: what else is known: a box, an area, a class.
        fps: frame rate of the file.
        crf: x264's constant rate factor.
        write: writes the file instead of `render`, where more than frames matters.
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
class ClipResult:
    """The result of curating one clip.

    Attributes:
        kept: the verdict.
        reasons: why it is dropped; empty where it is kept.
        score: the number that the threshold is compared with.
        crop: the part of the frame that is left.
        frame_size: width and height of the frame in pixels.
        label: class or group, where the filter sorts.
        evidence: the filter's own row.
        trimmed: only a span of it is kept.
    """

    kept: bool
    reasons: tuple[str, ...]
    score: float | None
    crop: Box
    frame_size: tuple[int, int]
    label: str | None
    evidence: Mapping[str, Any]
    trimmed: bool = False

    @property
    def fired(self) -> bool:
        """The clip is dropped, or part of it is cropped or trimmed away."""
        cropped = (self.crop.width, self.crop.height) != self.frame_size
        return not self.kept or cropped or self.trimmed


@dataclass(frozen=True)
class CaseResult:
    """A case and its clips after curation: one per shot, none where the file is not readable."""

    case: Case
    clips: tuple[ClipResult, ...]


@dataclass(frozen=True)
class Decision:
    """One decision of a filter, with what it ought to be.

    Attributes:
        case: the case's name.
        variant: of the case.
        dose: of the case.
        truth: whether the filter ought to fire; None counts for the dose-response curve only.
        fired: whether it did.
        score: confidence for the precision-recall curve; higher is more certain.
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
class Metric:
    """One number, with the target that it has to reach where there is one.

    Attributes:
        name: shown beside it.
        value: the number.
        target: None where any value will do.
        lower_is_better: whether the target is an upper bound.
    """

    name: str
    value: float
    target: float | None = None
    lower_is_better: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.lower_is_better else self.value >= self.target


@dataclass(frozen=True)
class Evaluation:
    """Decisions and metrics of one family.

    Attributes:
        decisions: one per clip, boundary or pair.
        metrics: numbers beyond precision, recall and average precision.
        curve: (threshold, precision, recall), where scores of single decisions give none.
        ap_target: what the average precision has to reach.
        precision_target: what the precision has to reach.
    """

    decisions: Sequence[Decision]
    metrics: Sequence[Metric] = ()
    curve: Sequence[tuple[float, float, float]] | None = None
    ap_target: float | None = None
    precision_target: float | None = None


DEFAULT_SPLIT: Mapping[str, Any] = {"detector": "none", "min_clip_s": 0, "trim_frames": 0}


@dataclass(frozen=True)
class Family:
    """One kind of defect and the filter that has to detect it.

    Attributes:
        name: on the command line.
        filter: the recipe's name of the filter.
        summary: one line.
        dose: name and unit of the strength.
        make_cases: cases from clean footage; few of them where the second argument is true.
        evaluate: metrics of the results.
        split: keys of `curate.split`; files are single clips unless it says otherwise.
        extra_evidence: (filter, batch of all clips) -> for each clip what its evidence does not
            state directly, added to its evidence.
        one_scale: whether the doses of all variants are on one scale.
        run_cases: replaces `curation.run_cases`, where a filter's verdict is not what is measured.
    """

    name: str
    filter: str
    summary: str
    dose: str
    make_cases: Callable[[CleanFootage, bool], Sequence[Case]]
    evaluate: Callable[[Sequence[CaseResult]], Evaluation]
    split: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_SPLIT)
    extra_evidence: Callable[[Any, ClipBatch], Sequence[Mapping[str, Any]]] | None = None
    one_scale: bool = True
    run_cases: (
        Callable[["Family", Sequence[Case], Path, Path, BenchSettings], list[CaseResult]] | None
    ) = None


def first_clips(case_results: Sequence[CaseResult]) -> list[tuple[Case, ClipResult]]:
    """Each readable case with its one clip."""
    return [(result.case, result.clips[0]) for result in case_results if result.clips]


def clip_decision(
    case: Case, clip: ClipResult, score: float | None = None, note: str = ""
) -> Decision:
    """The decision on a case that is one clip: the filter fires where it drops or crops it."""
    score = clip.score if score is None else score
    note = note or "; ".join(clip.reasons) or f"score {score if score is not None else '-'}"
    return Decision(case.name, case.variant, case.dose, case.positive, clip.fired, score, note)
