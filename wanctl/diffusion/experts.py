"""Two transformers for one sample: one for high noise, one for low noise (Wan 2.2 A14B).

They share the schedule, the solver and the latents; no noise is added at the change.
"""

from collections.abc import Sequence

from torch import Tensor

from wanctl.model.variants import HIGH, LOW, NUM_TRAIN_TIMESTEPS, Expert


def expert_of(timestep: float, boundary: float) -> Expert:
    """HIGH for timesteps from the boundary (a share of the noise levels) up, else LOW."""
    return HIGH if timestep >= boundary * NUM_TRAIN_TIMESTEPS else LOW


def high_steps(timesteps: Tensor, boundary: float) -> int:
    """Number of steps of the high-noise expert, which come first."""
    return sum(expert_of(t, boundary) == HIGH for t in timesteps.tolist())


def guide_scales(
    timesteps: Tensor, scale: float | Sequence[float], boundary: float | None
) -> list[float]:
    """The guide scale of each step.

    Args:
        timesteps: (N,), 0 to 1000.
        scale: one number, or those of two experts (low noise, high noise).
        boundary: see `expert_of`; None: there is one model, which takes one scale.
    """
    return [
        scale_of_expert(scale, None if boundary is None else expert_of(time, boundary))
        for time in timesteps.tolist()
    ]


def scale_of_expert(scale: float | Sequence[float], expert: Expert | None) -> float:
    """The guide scale of an expert: the one for all, or its own of (low noise, high noise)."""
    if isinstance(scale, int | float):
        return float(scale)
    assert expert is not None
    low, high = scale
    return float(high if expert == HIGH else low)
