"""Noise and text to latents: what `wanctl sample` and the previews of training share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.diffusion.guidance import guided_velocity
from wanctl.diffusion.schedules import Schedule
from wanctl.diffusion.solvers import Solver, get_solver

OnStep = Callable[[int, Tensor], None]


class Denoising:
    """A batch on its way from noise to clean latents, which may stop between two steps.

    Args:
        noise: (B, C, T, Y, X) standard normal, on the model's device; drawn by the caller.
        conditions: what the model is told.
        negative_context: (B, S, E) embeddings; may be None where guide_scale is 1.
        guide_scale: see `guided_velocity`; one number, or one for each step.
        schedule: noise levels, from `make_schedule`.
        solver: a row of SOLVERS, or what `with_step_cache` made of one.

    Raises:
        UserError: no such solver.
    """

    def __init__(
        self,
        *,
        noise: Tensor,
        conditions: Conditions,
        negative_context: Tensor | None = None,
        guide_scale: float | Sequence[float],
        schedule: Schedule,
        solver: str | Solver,
    ) -> None:
        self.steps = len(schedule.timesteps)
        self._device = noise.device.type
        self._timesteps = schedule.timesteps.to(noise.device)
        one = isinstance(guide_scale, (int, float))
        self._scales = [float(guide_scale)] * self.steps if one else list(guide_scale)
        self._conditions = conditions
        self._negative = negative_context
        solve = get_solver(solver) if isinstance(solver, str) else solver
        self._asking = solve(noise.float(), schedule.sigmas)
        self._asked: tuple[Tensor, int] | None = None  # what the solver waits for

    # Not inference_mode: tables that a model caches in it could not be used by a training step
    # later.
    @torch.no_grad()
    def run_until(
        self, model: Model, stop: int | None = None, on_step: OnStep | None = None
    ) -> Tensor | None:
        """Go on by a model's velocity, to a step that it is not asked for any more.

        The solver and the guidance compute in fp32 outside autocast; the model sees the autocast
        state of the caller.

        Args:
            model: see `predict`.
            stop: number of that step; None: none.
            on_step: called with the number of finished steps and the latents they led to; steps
                that took a velocity over come with the next.

        Returns:
            (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them; None where steps are
            left.
        """
        device = self._device
        autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        cache = CrossAttentionCache()  # not kept: it would keep the model in memory
        with torch.autocast(device, enabled=False):
            try:
                x, step = next(self._asking) if self._asked is None else self._asked
                while stop is None or step < stop:
                    with torch.autocast(device, dtype=autocast[1], enabled=autocast[0]):
                        v = self._velocity(model, x, step, cache)
                    x, step = self._asking.send(v)
                    if on_step:
                        on_step(step, x)
            except StopIteration as end:
                if on_step:
                    on_step(self.steps, end.value)
                return self._conditions.impose(end.value)
        self._asked = x, step
        return None

    def _velocity(self, model: Model, x: Tensor, step: int, cache: CrossAttentionCache) -> Tensor:
        return guided_velocity(
            model, x, self._timesteps[step], self._conditions, self._negative, self._scales[step],
            cache,
        )  # fmt: skip


def generate(
    model: Model,
    *,
    noise: Tensor,
    conditions: Conditions,
    negative_context: Tensor | None = None,
    guide_scale: float | Sequence[float],
    schedule: Schedule,
    solver: str | Solver,
    on_step: OnStep | None = None,
) -> Tensor:
    """All steps of a `Denoising`, by one model; arguments as there.

    Returns:
        (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them.

    Raises:
        UserError: no such solver.
    """
    denoising = Denoising(
        noise=noise, conditions=conditions, negative_context=negative_context,
        guide_scale=guide_scale, schedule=schedule, solver=solver,
    )  # fmt: skip
    latents = denoising.run_until(model, on_step=on_step)
    assert latents is not None
    return latents
