"""The recipe keys of filters that judge by an embedding, and how they read its vectors."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from wanctl.curate.api import ClipBatch, Embedder, Field, Filter, Ragged, threshold
from wanctl_filters.shared.embedders import CLIP_REPO, ClipEmbedder, CnnEmbedder

CHUNK_ROWS = 65536


class ClipKeys(Filter):
    """Which CLIP model; filters that name the same one share its vectors."""

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
        """CLIP with these keys."""
        return self.clip_embedder()

    def check(self) -> None:
        """What the embedding needs."""
        if (embedder := self.embedder()) is not None:
            embedder.check()

    def clip_embedder(self) -> ClipEmbedder:
        """CLIP with these keys."""
        return ClipEmbedder(
            samples=self.samples,
            architecture=self.clip_model,
            weights=self.clip_weights,
            device=self.device,
        )


class EmbeddingKeys(ClipKeys):
    """The choice between the packaged network and CLIP."""

    embedding: Literal["cnn", "clip"] = Field(
        default="cnn",
        description="`cnn` comes with the program; `clip` knows more and wants its weights",
    )

    def embedder(self) -> Embedder | None:
        """The one that `embedding` names."""
        if self.embedding == "clip":
            return self.clip_embedder()
        return CnnEmbedder(samples=self.samples, device=self.device)


def clip_vectors(batch: ClipBatch) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows and their (n, D) float32 vectors: the direction of the mean over a clip's frames.

    In chunks, because all at once may not fit in memory. Zeros for a clip without frames.
    """
    vectors = vectors_of(batch)
    counts = vectors.counts()
    for first in range(0, len(counts), CHUNK_ROWS):
        rows = slice(first, min(first + CHUNK_ROWS, len(counts)))
        found = np.zeros((rows.stop - first, vectors.values.shape[1]), dtype=np.float32)
        filled = np.flatnonzero(counts[rows])
        if len(filled):
            begin, end = vectors.starts[first], vectors.starts[rows.stop]
            frames = vectors.values[begin:end].astype(np.float32)
            found[filled] = np.add.reduceat(frames, vectors.starts[first + filled] - begin, axis=0)
        yield rows, found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def vectors_of(batch: ClipBatch) -> Ragged:
    """The batch's vectors, which every filter with an embedder is given."""
    assert batch.vectors is not None
    return batch.vectors
