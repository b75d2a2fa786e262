"""Two transformers that take turns: one for high noise, one for low (Wan 2.2 A14B).

They share the schedule, the solver and the latents; nothing happens to the noise where they change
over.
"""

from collections.abc import Sequence

from torch import Tensor

from wanctl.model.variants import HIGH, LOW, NUM_TRAIN_TIMESTEPS, Expert


def expert_of(timestep: float, boundary: float) -> Expert:
    """HIGH from the boundary on, a share of the noise levels, else LOW."""
    return HIGH if timestep >= boundary * NUM_TRAIN_TIMESTEPS else LOW


def high_steps(timesteps: Tensor, boundary: float) -> int:
    """How many steps the high-noise expert does before the other takes over."""
    return sum(expert_of(t, boundary) == HIGH for t in timesteps.tolist())


def guide_scales(
    timesteps: Tensor, scale: float | Sequence[float], boundary: float | None
) -> list[float]:
    """The guide scale of each step.

    Args:
        timesteps: (N,) as the model sees them.
        scale: one, or of two experts (low noise, high noise).
        boundary: see `expert_of`; None: one model, which takes one scale.
    """
    if isinstance(scale, int | float):
        return [float(scale)] * len(timesteps)
    assert boundary is not None
    low, high = scale
    return [high if expert_of(t, boundary) == HIGH else low for t in timesteps.tolist()]
