"""Drops clips with a low aesthetic score (CLIP ViT-L/14 + LAION aesthetic head)."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from wanctl.curate.api import (
    ClipBatch,
    FilterUnavailableError,
    Ragged,
    Verdicts,
    threshold,
)
from wanctl_filters.shared.embedding_keys import CHUNK_ROWS, ClipKeys, vectors_of
from wanctl_filters.shared.open_clip_files import find_head

HEAD_FILE = "sac+logos+ava1-l14-linearMSE.pth"


class Aesthetic(ClipKeys):
    """LAION's aesthetic predictor v2 on OpenAI's CLIP embedding of single frames, about 1 to 10.

    CLIP sees 224 pixels, so compression and blur hardly change the score; motion does not count.
    The head is applied when deciding, to vectors that other filters share.
    """

    head_weights: str = threshold(
        default=HEAD_FILE,
        description="the aesthetic head: a file, or a file name looked up in the torch hub's cache",
    )
    min_mean: float = threshold(
        default=4.5, quantile=1, description="lowest mean score over frames kept"
    )
    min_frame: float | None = threshold(
        default=None, description="lowest score of the worst frame kept; null sets no bound"
    )

    def models(self) -> Mapping[str, str]:
        """Licence of the head; the embedder lists CLIP itself."""
        return {"LAION aesthetic predictor v2": "Apache-2.0"}

    def check(self) -> None:
        """Verify that both files exist, and name all missing ones at once."""
        missing = []
        for check in (super().check, self._find_head):
            try:
                check()
            except FilterUnavailableError as error:
                missing.append(str(error))
        if missing:
            raise FilterUnavailableError("; ".join(missing))

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_mean,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the mean over frames."""
        scores = self.frame_scores(batch)
        mean, worst = scores.mean(), scores.min()
        least = -np.inf if self.min_frame is None else self.min_frame
        return Verdicts.judge(
            mean,
            (
                mean < self.min_mean,
                lambda row: f"scores {mean[row]:.2f} on average, at least {self.min_mean:g} wanted",
            ),
            (
                worst < least,
                lambda row: f"its worst frame scores {worst[row]:.2f}, at least {least:g} wanted",
            ),
        )

    def frame_scores(self, batch: ClipBatch) -> Ragged:
        """Scores of the head for every frame, as a ragged column."""
        vectors = vectors_of(batch)
        scores = np.zeros(len(vectors.values))
        for first in range(0, len(scores), CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            values = vectors.values[rows].astype(np.float32)
            # the head was trained on unit vectors, and fp16 rounding changes their length
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            weight, bias = self._head_for(values.shape[1])
            scores[rows] = values @ weight + bias
        return Ragged(scores, vectors.starts)

    def _find_head(self) -> Path:
        path, places = find_head(self.head_weights)
        if path is None:
            raise FilterUnavailableError(
                f"filter aesthetic: wants {self.head_weights} (from github.com/christophschuhmann/"
                f"improved-aesthetic-predictor); looked for {' and '.join(places)}; set "
                "`head_weights` to the file, or `optional: true` to go on without"
            )
        return path

    def _head_for(self, size: int) -> tuple[np.ndarray, float]:
        weight, bias = self._head
        if len(weight) != size:
            raise FilterUnavailableError(
                f"filter aesthetic: {self.head_weights} expects embeddings of {len(weight)} "
                f"numbers, {self.clip_weights} makes {size}; `clip_weights` and `head_weights` "
                "must belong together"
            )
        return weight, bias

    @cached_property
    def _head(self) -> tuple[np.ndarray, float]:
        """Weight and bias of all layers folded into one; only dropout lies between them."""
        from wanctl_filters.shared.open_clip_files import load_head

        weight, bias = np.eye(1), np.zeros(1)
        for layer, offset in reversed(load_head(self._find_head(), "cpu")):
            bias = bias + weight @ offset.double().numpy()
            weight = weight @ layer.double().numpy()
        return weight[0], float(bias[0])
