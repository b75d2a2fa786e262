"""Noise and text to latents: what `wanctl sample` and the previews of training share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.experts import Experts
from wanctl.diffusion.guidance import guided_velocity
from wanctl.diffusion.reading import Reading
from wanctl.diffusion.schedules import Schedule
from wanctl.diffusion.solvers import OnStep, Solver, get_solver


# Not inference_mode: tables that a model caches in it could not be used by a training step later.
@torch.no_grad()
def generate(
    model: Model | Experts,
    *,
    noise: Tensor,
    conditions: Conditions,
    negative_context: Tensor | None = None,
    guide_scale: float | Sequence[float],
    schedule: Schedule,
    solver: str | Solver,
    on_step: OnStep | None = None,
) -> Tensor:
    """Follow the model's velocity from noise to clean latents.

    The solver and the guidance compute in fp32 outside autocast; the model sees the autocast
    state of the caller.

    Args:
        model: see `predict`; or two that take turns.
        noise: (B, C, T, Y, X) standard normal, on the model's device; drawn by the caller.
        conditions: what the model is told.
        negative_context: (B, S, E) embeddings; may be None where guide_scale is 1.
        guide_scale: see `guided_velocity`; one number, or one for each step.
        schedule: noise levels, from `make_schedule`.
        solver: a row of SOLVERS, or what `with_step_cache` made of one.
        on_step: called with the number of finished steps and the latents they led to.

    Returns:
        (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them.

    Raises:
        UserError: no such solver.
    """
    device = noise.device.type
    autocast, autocast_dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    timesteps = schedule.timesteps.to(noise.device)
    one = isinstance(guide_scale, (int, float))
    scales = [float(guide_scale)] * len(timesteps) if one else list(guide_scale)
    told = schedule.timesteps.tolist()
    reading = Reading()

    def velocity(x: Tensor, i: int) -> Tensor:
        nonlocal reading
        if isinstance(model, Experts) and model.changes(told[i]):
            reading = Reading()  # it would keep the other expert in memory
        chosen = model.at(told[i]) if isinstance(model, Experts) else model
        with torch.autocast(device, dtype=autocast_dtype, enabled=autocast):
            return guided_velocity(
                chosen, x, timesteps[i], conditions, negative_context, scales[i], reading
            )

    solve = get_solver(solver) if isinstance(solver, str) else solver
    with torch.autocast(device, enabled=False):
        return conditions.impose(solve(velocity, noise.float(), schedule.sigmas, on_step))
