"""The recipe keys of filters that use an embedding, and access to its vectors."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from wanctl.curate.api import ClipBatch, Embedder, Field, Filter, Ragged, threshold
from wanctl_filters.shared.embedders import CLIP_REPO, ClipEmbedder, CnnEmbedder

CHUNK_ROWS = 65536


class ClipKeys(Filter):
    """Base of filters that use CLIP; filters with equal keys share its vectors."""

    samples: int = Field(default=4, ge=1, description="frames embedded, spread over the clip")
    clip_model: str = Field(
        default="ViT-L-14-quickgelu",
        description="open_clip architecture of `clip_weights`, where that is a single file",
    )
    clip_weights: str = Field(
        default=CLIP_REPO,
        description="open_clip weights: a file, a folder with open_clip_config.json, or a hub id "
        "looked up in the hub's cache",
    )
    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )

    def embedder(self) -> Embedder | None:
        """The CLIP embedder with these keys."""
        return self.clip_embedder()

    def check(self) -> None:
        """Verify the requirements of the embedder."""
        if (embedder := self.embedder()) is not None:
            embedder.check()

    def clip_embedder(self) -> ClipEmbedder:
        """The CLIP embedder with the values of these keys."""
        return ClipEmbedder(
            samples=self.samples,
            architecture=self.clip_model,
            weights=self.clip_weights,
            device=self.device,
        )


class EmbeddingKeys(ClipKeys):
    """Base of filters that use either the packaged network or CLIP."""

    embedding: Literal["cnn", "clip"] = Field(
        default="cnn",
        description="`cnn` is included; `clip` is stronger and needs its weights",
    )

    def embedder(self) -> Embedder | None:
        """The embedder that `embedding` names."""
        if self.embedding == "clip":
            return self.clip_embedder()
        return CnnEmbedder(samples=self.samples, device=self.device)


def mean_vectors(batch: ClipBatch) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their (n, D) float32 unit vectors: the normalised mean over a clip's frames.

    In chunks, because all at once may not fit in memory. Zeros for a clip without frames.
    """
    vectors = vectors_of(batch)
    counts = vectors.counts()
    for first in range(0, len(counts), CHUNK_ROWS):
        rows = slice(first, min(first + CHUNK_ROWS, len(counts)))
        means = np.zeros((rows.stop - first, vectors.values.shape[1]), dtype=np.float32)
        filled = np.flatnonzero(counts[rows])
        if len(filled):
            begin, end = vectors.starts[first], vectors.starts[rows.stop]
            frames = vectors.values[begin:end].astype(np.float32)
            means[filled] = np.add.reduceat(frames, vectors.starts[first + filled] - begin, axis=0)
        yield rows, means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def vectors_of(batch: ClipBatch) -> Ragged:
    """The batch's vectors, which are set for every filter with an embedder."""
    assert batch.vectors is not None
    return batch.vectors
