"""Latent frames that the transformer reads beside the video's, and that are no part of it.

They stay as they are at every step, so they are joined to the noisy video for each call of the
model, and cut off from its velocity. References that are noised with the video (VACE) lie in the
video's own latents instead, where the task places and drops them.

Shapes: B batch, C channels, T latent frames of the video, K of the references, Y/X latent
rows/columns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class References:
    """Clean latent frames before or after those of the video.

    Attributes:
        latents: (B, C, K, Y, X) fp32.
        before: they precede the video in time; else they follow it.
        timestep: their own, 0 to 1000, for models with a timestep per frame; None: the video's.
    """

    latents: Tensor
    before: bool = False
    timestep: float | None = None

    def __len__(self) -> int:
        """Number of latent frames."""
        return self.latents.shape[2]

    def join(self, x: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and timesteps of the whole sequence.

        Args:
            x: (B, C, T, Y, X) noisy latents.
            timesteps: (B,) or (1,); or (B, T) or (1, T), which needs an own timestep.

        Returns:
            (B, C, T + K, Y, X), and timesteps of the same number of dimensions, or one for each
            latent frame where the references have their own.
        """
        if self.timestep is not None:
            each = timesteps if timesteps.ndim > 1 else timesteps[:, None].expand(-1, x.shape[2])
            own = each.new_full((len(each), len(self)), self.timestep)
            timesteps = self._in_order(each, own, dim=1)
        return self._in_order(x, self.latents.to(x), dim=2), timesteps

    def cut(self, x: Tensor) -> Tensor:
        """The video's part of (B, C, T + K, Y, X)."""
        return x[:, :, len(self) :] if self.before else x[:, :, : -len(self)]

    def blank(self) -> "References":
        """As many references of zeros."""
        return replace(self, latents=torch.zeros_like(self.latents))

    def map(self, change: Callable[[Tensor], Tensor]) -> "References":
        """These references with their latents changed, e.g. moved to a device."""
        return replace(self, latents=change(self.latents))

    def _in_order(self, video: Tensor, own: Tensor, *, dim: int) -> Tensor:
        return torch.cat((own, video) if self.before else (video, own), dim=dim)
