"""Finds copies of clips and keeps the best one of each group; deletes nothing."""

from typing import Any, ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Clip,
    ClipBatch,
    Embedder,
    Evidence,
    Field,
    FrameBatch,
    FrameSpec,
    Verdicts,
    threshold,
)
from wanctl_filters.duplicates.alignment import FrameHashes
from wanctl_filters.duplicates.copies import compare
from wanctl_filters.duplicates.frame_hash import COARSE, VIEWS, WORDS, hash_frames
from wanctl_filters.duplicates.groups import groups_of, overlapping, vector_pairs
from wanctl_filters.duplicates.near_pairs import near_pairs
from wanctl_filters.shared.bars import Bar, bright_frames, find_bars
from wanctl_filters.shared.embedders import CnnEmbedder
from wanctl_filters.shared.embedding_keys import ClipKeys, mean_vectors
from wanctl_filters.shared.survivors import survivors

RANKS = ("quality", "aesthetic", "blur")
"""Filters whose score says which copy is best, in this order; blur's is better when lower."""
_LESS_IS_BETTER = ("blur",)
_SAME_LUMA = 4.0  # levels by which two facing bars may differ


class Duplicates(ClipKeys):
    """Copies by file content, by sequences of frame hashes, and by embedding.

    Frames are compared inside flat bars, at any time offset, mirrored or not, at up to 1.5 times
    the speed, in full or as central crops, which finds cropped copies and copies with a logo.
    Other takes and other moments of the same scene have similar frames but move differently, so
    that motion has to correlate as well. The score is the number of clips in the group; the label
    is the id of the clip that is kept.
    """

    version: ClassVar[int] = 3
    evidence: ClassVar[dict[str, str]] = {
        "times_s": "floats",
        "signs": "ints",
        "coarse": "ints",
    }
    scope: ClassVar[Literal["clip", "source", "set"]] = "set"

    fps: float = Field(default=8.0, gt=0, description="frames hashed per second")
    max_pictures: int = Field(
        default=16, ge=2, description="frames hashed per clip, at most, spread over the clip"
    )
    long_side_px: int = Field(default=160, ge=64, description="frames are scaled down to this")
    embedding: Literal["none", "cnn", "clip"] = Field(
        default="none",
        description="also group by embedding: `cnn` is included, `clip` needs weights",
    )
    max_apart: float = threshold(
        default=0.13,
        ge=0,
        le=1,
        description="bound for copies: share of hash signs that differ, plus 1 minus the "
        "correlation of motion",
    )
    changed_apart: float = threshold(
        default=0.2,
        ge=0,
        le=0.5,
        description="share of signs that may differ between copies whose crop is none of the views",
    )
    changed_together: float = threshold(
        default=0.99, ge=-1, le=1, description="least correlation of motion of such copies"
    )
    still_levels: float = threshold(
        default=0.5,
        ge=0,
        description="change over time, in luma levels, below which clips are still and signs alone "
        "decide",
    )
    still_apart: float = threshold(
        default=0.08,
        ge=0,
        le=0.5,
        description="share of signs that may differ between still copies",
    )
    min_overlap: float = threshold(
        default=0.6, gt=0, le=1, description="share of the shorter clip that must be in the longer"
    )
    min_cosine: float = threshold(
        default=0.98, ge=0, le=1, description="cosine of embeddings from which clips are copies"
    )
    best_by: str | None = threshold(
        default=None,
        description="the filter before this one whose highest score is kept; null takes quality, "
        "aesthetic or blur, else the number of pixels",
    )

    def embedder(self) -> Embedder | None:
        """The embedder that `embedding` names; None for `none`."""
        if self.embedding == "clip":
            return self.clip_embedder()
        if self.embedding == "cnn":
            return CnnEmbedder(samples=self.samples, device=self.device)
        return None

    def frames(self) -> FrameSpec:
        """Small grey frames spread over the clip."""
        return FrameSpec(
            fps=self.fps,
            max_count=self.max_pictures,
            long_side_px=self.long_side_px,
            color="gray",
        )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Signs and amplitudes of every frame, inside the bars."""
        assert frames is not None
        signs, coarse = hash_frames(_inside_bars(frames.frames))
        return {
            "times_s": [round(float(time), 4) for time in frames.times_s],
            "signs": signs.view(np.int64).ravel().tolist(),
            "coarse": np.ascontiguousarray(coarse).view(np.int64).ravel().tolist(),
        }

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Group copies and keep the best of every group."""
        ids = batch.clip("id")
        pairs = np.concatenate(
            [self._file_pairs(batch), self._hash_pairs(batch), self._vector_pairs(batch)]
        )
        group = groups_of(len(batch), pairs)
        size = np.bincount(group, minlength=len(batch))[group]
        best = self._best(batch, group)
        label = np.where(size > 1, ids[best], np.array(None))
        dropped = best != np.arange(len(batch))

        def why(row: int) -> str:
            return f"a copy of {ids[best[row]]}, which is better ({size[row]} in the group)"

        return Verdicts.judge(size.astype(np.float64), (dropped, why), label=label)

    def _file_pairs(self, batch: ClipBatch) -> np.ndarray:
        if "content_hash" not in batch.clips.column_names:
            return np.zeros((0, 2), np.int64)
        ranges = batch.clip("start_s"), batch.clip("end_s")
        return overlapping(batch.clip("content_hash"), *ranges, share=self.min_overlap)

    def _hash_pairs(self, batch: ClipBatch) -> np.ndarray:
        clips = frame_hashes(batch)
        pairs = near_pairs(clips.signs, clips.starts)
        return pairs[self.are_copies(clips, pairs)][:, :2]

    def are_copies(self, clips: FrameHashes, pairs: np.ndarray) -> np.ndarray:
        """(K,) bool: which of (K, 5) pairs are copies."""
        similarity = compare(clips, pairs)
        moving = similarity.distance + 1 - similarity.motion_correlation <= self.max_apart
        moving |= (similarity.distance <= self.changed_apart) & (
            similarity.motion_correlation >= self.changed_together
        )
        moving &= similarity.motion_levels >= self.still_levels
        still = (similarity.distance <= self.still_apart) & (
            similarity.motion_levels < self.still_levels
        )
        return (moving | still) & (similarity.overlap >= self.min_overlap)

    def _vector_pairs(self, batch: ClipBatch) -> np.ndarray:
        if self.embedder() is None or batch.vectors is None:
            return np.zeros((0, 2), np.int64)
        vectors = np.concatenate([part for _, part in mean_vectors(batch)])
        return vector_pairs(vectors, self.min_cosine)

    def _best(self, batch: ClipBatch, group: np.ndarray) -> np.ndarray:
        """(N,) row of the clip that is kept in each row's group."""
        rank = self._rank(batch)
        pixels = batch.clip("width").astype(np.int64) * batch.clip("height")
        # a clip that another filter drops must not replace one that is kept
        kept = survivors(batch)
        order = np.lexsort(
            (batch.clip("id").astype(str), -batch.clip("num_frames"), -pixels, -rank, ~kept, group)
        )
        first = np.ones(len(order), dtype=bool)
        first[1:] = group[order][1:] != group[order][:-1]
        best = np.empty(len(order), dtype=np.int64)
        best[order] = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
        return best

    def _rank(self, batch: ClipBatch) -> np.ndarray:
        names = [self.best_by] if self.best_by else list(RANKS)
        for name in names:
            score = batch.verdicts[name].score if name in batch.verdicts else None
            if score is not None:
                sign = -1.0 if name in _LESS_IS_BETTER else 1.0
                return np.nan_to_num(sign * score, nan=-np.inf)
        return np.zeros(len(batch))


def _inside_bars(frames: np.ndarray) -> np.ndarray:
    """The frames without flat bars, exact to the pixel: an offset changes every coefficient."""
    bright = bright_frames(frames, 10.0)
    # twice: a copy may have bars of another shade around the bars of the original
    for _ in range(2 if len(bright) else 0):
        cut = _widths(find_bars(bright))
        _, height, width = frames.shape
        rows = slice(cut["top"], height - cut["bottom"])
        columns = slice(cut["left"], width - cut["right"])
        frames, bright = frames[:, rows, columns], bright[:, rows, columns]
    return frames


def _widths(bars: dict[str, Bar]) -> dict[str, int]:
    """Pixels to cut off each side; in a dark frame the second bar of a pair may be undetectable."""
    detected = {side: bar.width if bar.change >= 0.5 else 0 for side, bar in bars.items()}
    facing = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    for side, other in facing.items():
        same = abs(bars[side].luma - bars[other].luma) <= _SAME_LUMA
        if not detected[side] and detected[other] and same:
            detected[side] = min(bars[side].width, detected[other])
    return detected


def frame_hashes(batch: ClipBatch) -> FrameHashes:
    """View the evidence of all clips as hashes, without copying."""
    times = batch.lists("times_s")
    first, last = times.starts[0], times.starts[-1]

    def rows(name: str, kind: Any, each: int) -> np.ndarray:
        column = batch.lists(name)
        values = column.values[column.starts[0] : column.starts[-1]]
        return np.ascontiguousarray(values).view(kind).reshape(-1, len(VIEWS), each)

    return FrameHashes(
        signs=rows("signs", np.uint64, WORDS),
        coarse=rows("coarse", np.int16, COARSE * COARSE),
        time_s=times.values[first:last],
        starts=(times.starts - first).astype(np.int64),
        length_s=batch.clip("duration_s"),
    )
