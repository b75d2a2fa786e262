"""Settings of the noise levels that training draws."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseOptions:
    """Settings of the noise levels; fields with the names of `train_dit.timesteps` are its keys.

    Attributes:
        latent_shifts: latent (T, Y, X) -> shift of the buckets whose shift the recipe states.
        microbatches: micro-batches of one step over all processes.
    """

    law: str
    mean: float
    std: float
    mode_scale: float
    shift: float
    shift_formula: str
    shift_tokens: int | None
    max_shift: float | None
    max_shift_tokens: int | None
    stratified: bool
    weighting: str
    min_snr_gamma: float
    latent_shifts: Mapping[tuple[int, int, int], float]
    microbatches: int
