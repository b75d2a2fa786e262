"""The noise levels of a micro-batch, and the loss by noise level for the log."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.device import to_device
from wanctl.diffusion.timesteps import LawOptions, law_mass, sample_sigmas
from wanctl.model.shapes import PATCH
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.noise.shifts import shift_at
from wanctl.train.dit.noise.weights import loss_weight
from wanctl.train.rng import MicrobatchIndex, keyed_generator

ALL_LEVELS = (0.0, 1.0)
BINS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Ranges of the noise level whose losses are logged apart."""


class NoiseLevels:
    """Draws noise levels as `train_dit.timesteps` says.

    Args:
        options: law, shift, weighting.
    """

    def __init__(self, options: NoiseOptions) -> None:
        self.options = options
        self.law = LawOptions(options.law, options.mean, options.std, options.mode_scale)

    def shift(self, latent_shape: Sequence[int]) -> float:
        """The shift of videos with latents (T, Y, X)."""
        frames, rows, columns = latent_shape
        stated = self.options.latent_shifts.get((frames, rows, columns))
        tokens = math.prod(n // patch for n, patch in zip(latent_shape, PATCH, strict=True))
        return shift_at(tokens, self.options) if stated is None else stated

    def mass(self, latent_shape: Sequence[int], within: tuple[float, float]) -> float:
        """Share of the levels of such videos that falls into a range."""
        return law_mass(self.law, within, shift=self.shift(latent_shape))

    def draw(
        self,
        count: int,
        latent_shape: Sequence[int],
        microbatch: MicrobatchIndex,
        within: tuple[float, float] = ALL_LEVELS,
    ) -> Tensor:
        """(count,) fp32 levels, a pure function of the arguments.

        Args:
            count: samples in the micro-batch.
            latent_shape: (T, Y, X) of their latents.
            microbatch: keys the random numbers.
            within: see `sample_sigmas`.
        """
        uniform = uniform_numbers(
            count, microbatch, self.options.microbatches, stratified=self.options.stratified
        )
        return sample_sigmas(self.law, uniform, shift=self.shift(latent_shape), within=within)

    def weight(self, sigma: Tensor) -> Tensor:
        """(B,) factors of the squared error at these levels."""
        return loss_weight(self.options.weighting, sigma, self.options.min_snr_gamma)


def uniform_numbers(
    count: int, microbatch: MicrobatchIndex, microbatches: int, *, stratified: bool
) -> Tensor:
    """(count,) fp64 uniform numbers in [0, 1), each alone distributed uniformly.

    Stratified, [0, 1) is divided into `count` blocks, one for each sample of the micro-batch in an
    order drawn for it, and every block into `microbatches` strata, one for each micro-batch of the
    step in an order drawn for the step and the block. So every stratum of a step is drawn from
    once, over accumulation and processes together; and where micro-batches differ in size, each
    of them is spread evenly still.

    Args:
        count: samples in this micro-batch.
        microbatch: its position in the run.
        microbatches: micro-batches of a step over all processes.
        stratified: False draws every number independently.
    """
    seed, step, micro = microbatch.seed, microbatch.step, microbatch.micro
    generator = keyed_generator(seed, "sigma", step, micro)
    within_stratum = torch.rand(count, generator=generator, dtype=torch.float64)
    if not stratified:
        return within_stratum
    blocks = torch.randperm(count, generator=generator)
    of_step = keyed_generator(seed, "strata", step)
    orders = torch.stack([torch.randperm(microbatches, generator=of_step) for _ in range(count)])
    return (blocks + (orders[blocks, micro] + within_stratum) / microbatches) / count


def losses_by_level(error: Tensor, sigma: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums and counts of the error in each of BINS, as `Losses.ratios` takes them.

    Args:
        error: (B,) squared errors.
        sigma: (B,) noise levels.
    """
    level = to_device(sigma, error.device)
    ratios = {}
    for low, high in BINS:
        inside = ((level >= low) & (level < high)).to(error.dtype)
        ratios[f"loss_sigma_{low:g}-{high:g}"] = (error.detach() * inside, inside)
    return ratios
