"""The transformer of some models of SkyReels-V2, which reads the frame rate next to the timestep.

Parameter names are the published ones.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E width of
text, I image tokens, G groups of tokens that share a timestep, D width.
"""

import torch
from torch import Tensor, nn

from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape


class FrameRateModel(WanModel):
    """Predicts the velocity of noisy latents for a frame rate; see `WanModel`."""

    def __init__(self, shape: DiTShape, precision: str = "fast") -> None:
        super().__init__(shape, precision)
        dim = shape.dim
        self.fps_embedding = nn.Embedding(shape.frame_rates, dim)
        self.fps_projection = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 6 * dim))
        if not self.head.head.weight.is_meta:
            self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> "FrameRateModel":
        """Draw the official initial weights, with which the frame rate changes nothing."""
        super().init_weights(generator)
        if hasattr(self, "fps_embedding"):  # not while the base class is made
            nn.init.normal_(self.fps_embedding.weight, std=0.02, generator=generator)
            nn.init.zeros_(self.fps_projection[2].weight)  # pyright: ignore[reportArgumentType]
        return self

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        frame_rate_B1: Tensor,
    ) -> Tensor:
        """Velocity of noisy latents, (B, C, T, Y, X) fp32.

        Args:
            latents_BCTYX: see `WanModel.forward`.
            timesteps: see `WanModel.forward`.
            context_BSE: see `WanModel.forward`.
            image_BIE: see `WanModel.forward`.
            frame_rate_B1: number of the frame rate, int64; (1, 1) for the whole batch.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE)
        batch = len(latents_BCTYX)
        if frame_rate_B1.shape not in ((batch, 1), (1, 1)):
            raise ValueError(f"frame rate: got {tuple(frame_rate_B1.shape)}; need ({batch}, 1)")
        e_BGD, e6_BG6D = self._embed_time(timesteps)
        with torch.autocast(e6_BG6D.device.type, enabled=False):
            added = self.fps_projection(self.fps_embedding(frame_rate_B1).float())
            e6_BG6D = e6_BG6D + added.unflatten(2, (6, -1))
        return self.run(latents_BCTYX, grid, (e_BGD, e6_BG6D), context_BSE, image_BIE)
