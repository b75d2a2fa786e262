"""Two transformers that take turns: one for high noise, one for low (Wan 2.2 A14B).

Only one of them is in memory. They share the schedule, the solver and the latents; nothing happens
to the noise where they change over.
"""

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Model

TRAIN_TIMESTEPS = 1000
HIGH, LOW = "high-noise", "low-noise"


class Experts:
    """Holds the expert for the current timestep.

    Args:
        load: the model of a name, HIGH or LOW.
        boundary: share of the noise levels from which on the high-noise expert works.
    """

    def __init__(self, load: Callable[[str], Model], boundary: float) -> None:
        self._load = load
        self._boundary = boundary
        self._name = ""
        self._model: Model | None = None

    def changes(self, timestep: float) -> bool:
        """Whether `at` would load another model; let go of the one before first."""
        return self._name != expert_of(timestep, self._boundary)

    def at(self, timestep: float) -> Model:
        """The expert for a timestep, 0 to 1000."""
        if self._model is None or self.changes(timestep):
            self._model = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._name = expert_of(timestep, self._boundary)
            self._model = self._load(self._name)
        return self._model


def expert_of(timestep: float, boundary: float) -> str:
    """HIGH from the boundary on, else LOW."""
    return HIGH if timestep >= boundary * TRAIN_TIMESTEPS else LOW


def guide_scales(
    timesteps: Tensor, scale: float | Sequence[float], boundary: float | None
) -> list[float]:
    """The guide scale of each step.

    Args:
        timesteps: (N,) as the model sees them.
        scale: one, or of two experts (low noise, high noise).
        boundary: see `Experts`; None: one model, which takes one scale.
    """
    if isinstance(scale, int | float):
        return [float(scale)] * len(timesteps)
    assert boundary is not None
    low, high = scale
    return [high if expert_of(t, boundary) == HIGH else low for t in timesteps.tolist()]
