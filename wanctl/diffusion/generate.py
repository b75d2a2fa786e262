"""Noise and conditions to clean latents, for `wanctl sample` and the previews of training."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.diffusion.guidance import guided_velocity
from wanctl.diffusion.schedules import Schedule
from wanctl.diffusion.solvers import NoiseFn, Solver, get_solver

OnStep = Callable[[int, Tensor], None]
OnPrediction = Callable[[int, Tensor], None]
"""(step number, clean latents (B, C, T, Y, X) fp32 as the step's velocity predicts them)."""


class Denoising:
    """The denoising of one batch, which may be interrupted between two steps.

    Args:
        noise: (B, C, T, Y, X) standard normal, on the model's device; drawn by the caller.
        conditions: passed to the model.
        negative_context: (B, S, E) embeddings; may be None where guide_scale is 1.
        guide_scale: see `guided_velocity`; one number, or one for each step.
        schedule: noise levels, from `make_schedule`.
        solver: a row of SOLVERS, or the result of `with_step_cache`.
        step_noise: draws more noise like `noise`; may be None for solvers that draw none.
        reference_scale: see `guided_velocity`; one for each step. None: none has one.

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
        step_noise: NoiseFn | None = None,
        reference_scale: Sequence[float | None] | None = None,
    ) -> None:
        self.steps = len(schedule.timesteps)
        self._device = noise.device.type
        self._timesteps = schedule.timesteps.to(noise.device)
        if conditions.second_timestep:
            following = torch.cat((self._timesteps[1:], self._timesteps.new_zeros(1)))
            self._timesteps = torch.stack((self._timesteps, following), dim=1)
        self._sigmas = schedule.sigmas.tolist()
        constant = isinstance(guide_scale, (int, float))
        self._scales = [float(guide_scale)] * self.steps if constant else list(guide_scale)
        self._reference_scales = reference_scale or [None] * self.steps
        self._conditions = conditions
        self._negative = negative_context
        solve = get_solver(solver) if isinstance(solver, str) else solver
        start = noise.float() * schedule.noise_scale
        self._coroutine = solve(start, schedule.sigmas, step_noise or _no_noise)
        self._pending: tuple[Tensor, int] | None = None  # latents and step without velocity

    # Not inference_mode: a later training step could not use the tables that a model caches in it.
    @torch.no_grad()
    def run_until(
        self,
        model: Model,
        stop: int | None = None,
        on_step: OnStep | None = None,
        on_prediction: OnPrediction | None = None,
    ) -> Tensor | None:
        """Continue with a model's velocity, up to but excluding step `stop`.

        The solver and the guidance compute in fp32 outside autocast; the model runs in the
        caller's autocast state.

        Args:
            model: see `predict`.
            stop: number of the first step that is left; None: run all steps.
            on_step: called with the number of finished steps and their latents; steps that reuse
                a velocity are reported with the next computed one.
            on_prediction: called at each computed step.

        Returns:
            (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them; None if steps are
            left.
        """
        device = self._device
        autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        cache = CrossAttentionCache()  # not kept: it would keep the model in memory
        with torch.autocast(device, enabled=False):
            try:
                x, step = next(self._coroutine) if self._pending is None else self._pending
                while stop is None or step < stop:
                    with torch.autocast(device, dtype=autocast[1], enabled=autocast[0]):
                        v = self._velocity(model, x, step, cache)
                    if on_prediction:
                        clean = self._conditions.impose(x - self._sigmas[step] * v)
                        on_prediction(step, clean)
                    x, step = self._coroutine.send(v)
                    if on_step:
                        on_step(step, x)
            except StopIteration as end:
                if on_step:
                    on_step(self.steps, end.value)
                return self._conditions.impose(end.value)
        self._pending = x, step
        return None

    def _velocity(self, model: Model, x: Tensor, step: int, cache: CrossAttentionCache) -> Tensor:
        return guided_velocity(
            model, x, self._timesteps[step], self._conditions, self._negative, self._scales[step],
            cache, reference_scale=self._reference_scales[step],
        )  # fmt: skip


def generate(model: Model, *, on_step: OnStep | None = None, **settings: Any) -> Tensor:
    """Run all steps of a `Denoising` with one model.

    Args:
        model: see `predict`.
        on_step: see `Denoising.run_until`.
        settings: arguments of `Denoising`.

    Returns:
        (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them.

    Raises:
        UserError: no such solver.
    """
    latents = Denoising(**settings).run_until(model, on_step=on_step)
    assert latents is not None
    return latents


def _no_noise() -> Tensor:
    raise ValueError("this solver draws noise at every step; pass `step_noise`")
