"""Training on long clips in chunks, whose memory is that of one chunk.

A chunk's causal layers see the last frames of the chunk before it (`VAEStream`), without their
gradient. A term of a chunk is scaled so that the chunks' terms, weighted by their shares of the
clip's frames, add up to the term of the whole clip.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from wanctl.model.shapes import latent_frames


@dataclass(frozen=True)
class Chunk:
    """A chunk of a clip, or a whole clip.

    Attributes:
        frames: of the clip.
        latents: its latent frames.
        share: of the clip's frames; the loop weights the chunk's losses with it.
        latent_share: of the clip's latent frames.
        last: whether no chunk follows.
    """

    frames: slice
    latents: slice
    share: float
    latent_share: float
    last: bool

    def kl_scale(self, reduction: str) -> float:
        """Factor of the chunk's KL, whose reduction is a sum over the latents or a mean of them."""
        return (1.0 if reduction == "sample" else self.latent_share) / self.share

    def drawn(self, frames: Tensor | None) -> tuple[Tensor | None, float]:
        """Those of the clip's drawn frames that are in this chunk, and the factor of their mean.

        Args:
            frames: indices in the clip; None: all frames are compared.
        """
        if frames is None:
            return None, 1.0
        inside = frames[(frames >= self.frames.start) & (frames < self.frames.stop)]
        return inside - self.frames.start, len(inside) / len(frames) / self.share


def clip_chunks(frames: int, chunk_frames: int | None, stride: int) -> Sequence[Chunk]:
    """Cut a clip; one that is not longer than a chunk stays whole.

    Args:
        frames: of the clip, 4n+1.
        chunk_frames: of the first chunk, 4n+1; the others have one less, which is as many latent
            frames less one; the last may be shorter. None: every clip is whole.
        stride: frames per latent frame.
    """
    if chunk_frames is None or frames <= chunk_frames:
        return [Chunk(slice(0, frames), slice(0, latent_frames(frames, stride)), 1.0, 1.0, True)]
    ends = [*range(chunk_frames, frames, chunk_frames - 1), frames]
    latents = latent_frames(frames, stride)
    chunks = []
    for start, stop in itertools.pairwise([0, *ends]):
        first = latent_frames(start, stride) if start else 0
        last = latent_frames(stop, stride)
        chunks.append(
            Chunk(
                slice(start, stop),
                slice(first, last),
                share=(stop - start) / frames,
                latent_share=(last - first) / latents,
                last=stop == frames,
            )
        )
    return chunks
