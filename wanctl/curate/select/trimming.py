"""The span of each clip that filters keep, and what it has to be long enough for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.columns import Verdicts, least_s
from wanctl.curate.select.decisions import Decisions, Reasons

_pc: Any = pc  # its functions are unknown to type checkers
_ROUNDED = 0.05  # of a frame, by which times are rounded


@dataclass(frozen=True)
class KeptSpans:
    """The spans that are left of some clips.

    Attributes:
        start_s: (N,) seconds from the clip's first frame; where a frame begins.
        end_s: (N,) where a frame ends; not above the start where nothing is left.
        trimmed: (N,) bool, whether the span is not the whole clip.
        reasons: (N,) "filter: what is left out, and why"; null where nothing is.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    trimmed: np.ndarray
    reasons: pa.Array

    @classmethod
    def of(cls, decisions: Decisions) -> "KeptSpans":
        """The whole frames in the intersection of the spans that the filters propose.

        Frames are taken to be evenly spaced: a span that begins between two of them would show its
        first frame for longer.
        """
        clips = decisions.clips
        seconds = clips["end_s"].to_numpy() - clips["start_s"].to_numpy()
        start_s, end_s = np.zeros(len(seconds)), seconds.copy()
        texts: list[pa.Array] = []
        for name, each in decisions.verdicts.items():
            if each.spans is None or each.span_reasons is None:
                continue
            # NaN stands for the whole clip
            start_s, end_s = np.fmax(start_s, each.spans[:, 0]), np.fmin(end_s, each.spans[:, 1])
            whys = pa.array(each.span_reasons, pa.string(), from_pandas=True)
            texts.append(_pc.binary_join_element_wise(name, whys, ": "))
        trimmed = (start_s > 0) | (end_s < seconds)
        if trimmed.any():
            frame_s = np.maximum(seconds / np.maximum(clips["num_frames"].to_numpy(), 1), 1e-9)
            start_s = np.maximum(np.ceil(start_s / frame_s - _ROUNDED), 0) * frame_s + 0.0
            whole_end_s = np.floor(end_s / frame_s + _ROUNDED) * frame_s
            end_s = np.where(end_s < seconds, whole_end_s, seconds)
        return cls(start_s, end_s, trimmed, _joined(texts, trimmed))

    @property
    def seconds(self) -> np.ndarray:
        """(N,) length of the spans."""
        return np.maximum(self.end_s - self.start_s, 0.0)

    def without(self, rows: np.ndarray, clips: pa.Table) -> "KeptSpans":
        """The spans with those of the (N,) bool rows replaced by the whole clips."""
        seconds = clips["end_s"].to_numpy() - clips["start_s"].to_numpy()
        trimmed = self.trimmed & ~rows
        return KeptSpans(
            np.where(rows, 0.0, self.start_s),
            np.where(rows, seconds, self.end_s),
            trimmed,
            _pc.if_else(pa.array(trimmed), self.reasons, pa.scalar(None, pa.string())),
        )

    def column(self, values: np.ndarray) -> pa.Array:
        """Values as a column that is null for whole clips."""
        return pa.array(values, mask=~self.trimmed)


def drop_short_spans(
    decisions: Decisions, spans: KeptSpans
) -> tuple[Mapping[str, Verdicts], np.ndarray]:
    """The verdicts, in which filters drop clips whose span is shorter than they keep.

    Returns:
        (verdicts of all filters, (N,) bool: clips that are dropped for their span).
    """
    verdicts, dropped = dict(decisions.verdicts), np.zeros(len(spans.trimmed), dtype=bool)
    if not spans.trimmed.any():
        return verdicts, dropped
    empty = spans.trimmed & (spans.seconds <= 0)
    for name, shortest in decisions.shortest.items():
        if name not in verdicts:
            continue
        least = least_s(decisions.clips, shortest)
        short = spans.trimmed & (spans.seconds < least) & verdicts[name].keep
        dropped |= short
        if short.any():
            verdicts[name] = _dropping(verdicts[name], short, spans, least)
    rest = empty & ~dropped
    for name, each in verdicts.items():
        # what spans without a common part leave is no clip, whatever its shortest length is
        mine = rest & each.keep & (False if each.spans is None else ~np.isnan(each.spans[:, 0]))
        if mine.any():
            verdicts[name] = _dropping(each, mine, spans, np.zeros(len(rest)))
    return verdicts, dropped | rest


def _dropping(each: Verdicts, rows: np.ndarray, spans: KeptSpans, least: np.ndarray) -> Verdicts:
    """Verdicts that drop the (N,) bool rows too."""
    new = np.flatnonzero(rows)
    texts = [
        f"{spans.seconds[row]:.2f} s are left after trimming ({spans.reasons[row].as_py()}), at "
        f"least {least[row]:.4g} s wanted"
        for row in new.tolist()
    ]
    old = np.flatnonzero(~each.keep)
    if isinstance(each.why, Reasons):
        old, known = each.why.rows, each.why.texts
    else:
        known = pa.array([each.why(row) for row in old.tolist()], pa.large_string())
    every = np.concatenate([old, new])
    order = np.argsort(every, kind="stable")
    both = pa.concat_arrays([known, pa.array(texts, pa.large_string())])
    return replace(each, keep=each.keep & ~rows, why=Reasons(every[order], both.take(order)))


def _joined(texts: list[pa.Array], trimmed: np.ndarray) -> pa.Array:
    """(N,) the texts of all filters; null for whole clips."""
    joined = pa.nulls(len(trimmed), pa.string())
    for each in texts:
        joined = _pc.coalesce(_pc.binary_join_element_wise(joined, each, "; "), joined, each)
    return _pc.if_else(pa.array(trimmed), joined, pa.scalar(None, pa.string()))
