"""MeanFlow (arXiv 2505.13447): a transformer that also takes the noise level to which a step goes.

Its velocity is the mean one of the step, so that few steps suffice. Parameter names are the
published ones.
"""

import torch
from torch import Tensor, nn

from wanctl.model.dit.blocks import run_in_weight_dtype
from wanctl.model.dit.checks import check_inputs
from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.dit.transformer import WanModel, sinusoid
from wanctl.model.variants import DiTShape


class MeanFlowModel(WanModel):
    """A transformer with a second timestep."""

    def __init__(self, shape: DiTShape, precision: str = "fast") -> None:
        super().__init__(shape, precision)
        self.time_embedding_r = nn.Sequential(
            nn.Linear(shape.freq_dim, shape.dim), nn.SiLU(), nn.Linear(shape.dim, shape.dim)
        )

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        latents_BCTYX: Tensor,
        timesteps: Tensor,
        context_BSE: Tensor | PrecomputedContext,
        *,
        image_BIE: Tensor | None = None,
        next_timesteps: Tensor,
    ) -> Tensor:
        """Mean velocity of noisy latents, (B, C, T, Y, X) fp32.

        Args:
            latents_BCTYX: see `WanModel.forward`.
            timesteps: (B,) or (1,), 0 to 1000.
            context_BSE: see `WanModel.forward`.
            image_BIE: see `WanModel.forward`.
            next_timesteps: those to which the step goes, as many.

        Raises:
            ValueError: a shape does not fit the model.
        """
        grid = check_inputs(self.shape, latents_BCTYX, timesteps, context_BSE, image_BIE)
        if timesteps.ndim > 1 or next_timesteps.shape != timesteps.shape:
            raise ValueError(
                f"next timesteps: got {tuple(next_timesteps.shape)} for timesteps "
                f"{tuple(timesteps.shape)}; need one for each, and one for an item"
            )
        times = self._embed_step(timesteps, next_timesteps)
        return self.run(latents_BCTYX, grid, times, context_BSE, image_BIE)

    def _embed_step(self, timesteps: Tensor, next_timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The time embedding of the start, for the head, and the projection of both."""
        activate, project = self.time_projection
        waves = [sinusoid(each, self.shape.freq_dim) for each in (timesteps, next_timesteps)]
        with torch.autocast(waves[0].device.type, enabled=False):
            e = run_in_weight_dtype(self.time_embedding, waves[0])
            following = run_in_weight_dtype(self.time_embedding_r, waves[1])
            e6 = project(activate(e) + activate(following)).float().unflatten(1, (6, -1))
        return e.float()[:, None], e6[:, None]
