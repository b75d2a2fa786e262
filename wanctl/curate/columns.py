"""Clips and verdicts as columns: arguments and result of `Filter.decide_many`.

Deciding ten million clips as Python objects takes an hour; as columns it takes seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.video.frames import Box


@dataclass(frozen=True)
class Clip:
    """One row of `clips/`: a span of a source file; no file of its own.

    Sizes are display sizes: rotation applied, pixels square. The other columns are described in
    `wanctl.data.schemas`.

    Attributes:
        view: when deciding, the part of the frame within the crops of earlier filters; None is
            the whole frame. When measuring it is None.
    """

    id: str
    source: str
    start_s: float
    end_s: float
    num_frames: int
    fps: float
    width: int
    height: int
    vfr: bool
    rotation: int
    has_audio: bool
    corrupt_share: float
    content_hash: str = ""
    coded_width: int = 0
    coded_height: int = 0
    sar_num: int = 1
    sar_den: int = 1
    bit_rate: float = 0.0
    transfer: str = ""
    interlaced: bool = False
    comb_share: float = 0.0
    repeat_share: float = 0.0
    frozen_share: float = 0.0
    primaries: str | None = None  # null in data sets of earlier versions
    moving_share: float | None = None
    view: Box | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return self.end_s - self.start_s


CLIP_COLUMNS = tuple(column.name for column in fields(Clip) if column.name != "view")


@dataclass(frozen=True)
class Verdict:
    """A filter's decision on a clip.

    Attributes:
        keep: whether the clip is kept.
        reason: why it is dropped, with the number and the bound: "text covers 7.1 %, allowed 2 %".
        score: the number the threshold was compared with; drawn in the report's histogram.
        crop: the rectangle to keep, in display pixels; None keeps the whole frame.
        weight: sampling weight in training.
        label: a class name, where the filter classifies: a motion tier, a category, a group of
            duplicates.
        span: the part to keep, start and end in seconds from the clip's first frame; None keeps all
            of it.
        span_reason: what a span leaves out, and why.
    """

    keep: bool
    reason: str = ""
    score: float | None = None
    crop: Box | None = None
    weight: float = 1.0
    label: str | None = None
    span: tuple[float, float] | None = None
    span_reason: str = ""


@dataclass(frozen=True)
class Drawing:
    """An outline that the report draws over the picture of a clip, to show what a filter found.

    Attributes:
        kind: what it is, in a word or two: "overlaid text", "text in the scene", "mark". The report
            has a switch and a colour for each kind.
        polygon: flat [x0, y0, x1, y1, ...] in display pixels before any crop.
        label: what to write next to it, such as the text that was read.
        span: seconds from the clip's first frame between which it is there; None: throughout.
    """

    kind: str
    polygon: Sequence[float]
    label: str = ""
    span: tuple[float, float] | None = None

    @classmethod
    def of_box(cls, kind: str, box: Box, label: str = "") -> "Drawing":
        """The outline of a rectangle."""
        right, low = box.x + box.width, box.y + box.height
        return cls(kind, (box.x, box.y, right, box.y, right, low, box.x, low), label)


@dataclass(frozen=True)
class Ragged:
    """A column of lists: row i is `values[starts[i]:starts[i + 1]]`. Values may be vectors."""

    values: np.ndarray
    starts: np.ndarray

    def counts(self) -> np.ndarray:
        """(N,) length of each row."""
        return np.diff(self.starts)

    def mean(self) -> np.ndarray:
        """(N,) mean of each row; NaN where it is empty."""
        counts = self.counts().reshape(-1, *[1] * (self.values.ndim - 1))
        return self._reduce(np.add) / np.maximum(counts, 1)

    def max(self) -> np.ndarray:
        """(N,) largest value of each row; NaN where it is empty."""
        return self._reduce(np.maximum)

    def min(self) -> np.ndarray:
        """(N,) smallest value of each row; NaN where it is empty."""
        return self._reduce(np.minimum)

    def __getitem__(self, row: Any) -> np.ndarray:
        return self.values[self.starts[row] : self.starts[row + 1]]

    def _reduce(self, ufunc: np.ufunc) -> np.ndarray:
        result = np.full((len(self.starts) - 1, *self.values.shape[1:]), np.nan)
        # reduceat gives an empty row the value of its neighbour
        filled = np.flatnonzero(self.counts())
        if len(filled):
            result[filled] = ufunc.reduceat(self.values, self.starts[filled], dtype=np.float64)
        return result


@dataclass(frozen=True)
class ClipBatch:
    """Clips and one filter's evidence for them, row by row.

    Attributes:
        clips: columns of the clips table, `CLIP_COLUMNS` at least.
        evidence: the filter's columns, in the order of `clips`.
        views: (N, 4) int32, x, y, width, height of the part within earlier filters' crops.
        verdicts: filter -> verdicts of the filters before this one.
        vectors: where the filter has an embedder, the unit vectors of each clip's frames:
            values (M, D) float16.
        others: evidence of the filters in `Filter.other_evidence`; see `other`.
        shortest: filter -> (seconds, frames) of the shortest clip that it keeps; see `least_s`.
    """

    clips: pa.Table
    evidence: pa.Table
    views: np.ndarray
    verdicts: "Mapping[str, Verdicts]" = field(default_factory=dict)
    vectors: Ragged | None = None
    others: "Mapping[str, pa.Table]" = field(default_factory=dict)
    shortest: "Mapping[str, tuple[float, int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return self.clips.num_rows

    def other(self, name: str) -> "ClipBatch | None":
        """The same clips with the evidence of a filter in `Filter.other_evidence`.

        Clips that the other filter did not measure have null there: NaN in `numbers`, empty in
        `lists`. None where the recipe lacks that filter.
        """
        if name not in self.others:
            return None
        return replace(self, evidence=self.others[name], others={})

    def clip(self, name: str) -> np.ndarray:
        """(N,) a column of the clips table, as numpy; `duration_s` too."""
        if name == "duration_s":
            return self.clip("end_s") - self.clip("start_s")
        return self.clips[name].to_numpy()

    def least_s(self) -> np.ndarray:
        """(N,) seconds that a span of each clip must have for all filters to keep it."""
        floors = [least_s(self.clips, each) for each in self.shortest.values()]
        return np.max([np.zeros(len(self)), *floors], axis=0)

    def numbers(self, name: str) -> np.ndarray:
        """(N,) a column of evidence of type float, int or bool; NaN for null."""
        return self.evidence[name].to_numpy()

    def lists(self, name: str) -> Ragged:
        """A column of evidence of type floats or ints."""
        array = self.evidence[name].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks or [pa.array([], array.type)])
        return Ragged(array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy())

    def rows(self) -> Iterator[tuple[Clip, Mapping[str, Any]]]:
        """(clip, its evidence), one clip at a time."""
        clips = self.clips.select(CLIP_COLUMNS).to_pylist()
        views = map(Box._make, self.views.tolist())
        for clip, view, evidence in zip(clips, views, self.evidence.to_pylist(), strict=True):
            uncropped = view == (0, 0, clip["width"], clip["height"])
            yield Clip(**clip, view=None if uncropped else view), evidence


def least_s(clips: pa.Table, shortest: tuple[float, int]) -> np.ndarray:
    """(N,) shortest length of each clip in seconds, from a shortest length in (seconds, frames)."""
    return np.maximum(shortest[0], shortest[1] / np.maximum(clips["fps"].to_numpy(), 1e-9))


@dataclass(frozen=True)
class Verdicts:
    """`Verdict` of many clips, as columns; None stands for a column of defaults.

    Attributes:
        keep: (N,) bool.
        why: row -> reason; called for dropped rows only.
        score: (N,) float64, NaN where there is none.
        crops: (N, 4) int32, x, y, width, height; width 0 keeps the whole frame.
        weight: (N,) float64.
        label: (N,) object, text or None.
        spans: (N, 2) float64, start and end in seconds from the clip's first frame; NaN keeps all.
        span_reasons: (N,) object, what each span leaves out and why, or None.
    """

    keep: np.ndarray
    why: Callable[[int], str]
    score: np.ndarray | None = None
    crops: np.ndarray | None = None
    weight: np.ndarray | None = None
    label: np.ndarray | None = None
    spans: np.ndarray | None = None
    span_reasons: np.ndarray | None = None

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> "Verdicts":
        """Columns from single verdicts."""
        scores = [np.nan if v.score is None else v.score for v in verdicts]
        boxes = [v.crop or (0, 0, 0, 0) for v in verdicts]
        labels = np.array([v.label for v in verdicts], dtype=object)
        spans = [v.span or (np.nan, np.nan) for v in verdicts]
        reasons = np.array([v.span_reason or None for v in verdicts], dtype=object)
        trims = any(v.span for v in verdicts)
        return cls(
            keep=np.array([v.keep for v in verdicts], dtype=bool),
            why=lambda row: verdicts[row].reason,
            score=np.array(scores, dtype=np.float64),
            crops=np.array(boxes, dtype=np.int32).reshape(-1, 4)
            if any(v.crop for v in verdicts)
            else None,
            weight=np.array([v.weight for v in verdicts], dtype=np.float64),
            label=labels if any(v.label for v in verdicts) else None,
            spans=np.array(spans, dtype=np.float64) if trims else None,
            span_reasons=reasons if trims else None,
        )

    @classmethod
    def judge(
        cls, score: np.ndarray, *rules: tuple[np.ndarray, Callable[[int], str]], **columns: Any
    ) -> "Verdicts":
        """Drop the rows that break a rule.

        Args:
            score: (N,) float.
            rules: (rows that break it, row -> reason); the first broken one gives the reason.
            columns: the other attributes.
        """
        broken = np.full(len(score), -1)
        for number, (mask, _) in reversed(list(enumerate(rules))):
            broken[np.asarray(mask, dtype=bool)] = number
        return cls(
            keep=broken < 0,
            why=lambda row: rules[broken.item(row)][1](row),
            score=np.asarray(score, dtype=np.float64),
            **columns,
        )

    def __getitem__(self, row: int) -> Verdict:
        keep = bool(self.keep[row])
        score = None if self.score is None or np.isnan(self.score[row]) else float(self.score[row])
        crop = None if self.crops is None else Box._make(self.crops[row].tolist())
        span = None if self.spans is None or np.isnan(self.spans[row, 0]) else self.spans[row]
        why = None if self.span_reasons is None else self.span_reasons[row]
        return Verdict(
            keep=keep,
            reason="" if keep else self.why(row),
            score=score,
            crop=crop if crop and crop.width else None,
            weight=1.0 if self.weight is None else float(self.weight[row]),
            label=None if self.label is None else self.label[row],
            span=None if span is None else (float(span[0]), float(span[1])),
            span_reason=why or "",
        )
