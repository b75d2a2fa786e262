"""Which transformer learns in a step, and from which noise levels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from wanctl.model.variants import HIGH, LOW
from wanctl.train.dit.noise.levels import ALL_LEVELS
from wanctl.train.rng import keyed_generator

MODEL = "model"
# Middle of each quarter of a transformer's noise levels; held-out losses are measured there.
EVAL_LEVELS = (0.125, 0.375, 0.625, 0.875)


@dataclass(frozen=True)
class Routing:
    """Noise levels of each transformer that is trained, and the steps in which it learns.

    Two experts take blocks of `block_steps` steps, so that they change places on the device rarely.
    Of the blocks up to any one the expert for high noise has `high_share`, less than one block more
    or less: experts that are drawn for each block would learn at uneven rates by chance.

    Attributes:
        levels: network -> range of the noise levels of the steps in which it learns.
        high_share: share of the blocks in which the first network learns; used where there are two.
        block_steps: steps of a block.
        seed: keys where in the pattern the run begins.
    """

    levels: Mapping[str, tuple[float, float]]
    high_share: float = 1.0
    block_steps: int = 1
    seed: int = 0

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks that are trained; the first is the main one."""
        return tuple(self.levels)

    def turn(self, step: int) -> str:
        """The network that learns in optimizer step `step`, from 0."""
        networks = self.networks
        if len(networks) == 1:
            return networks[0]
        block = step // self.block_steps
        before, after = (
            math.floor((block + more) * self.high_share + self._offset) for more in (0, 1)
        )
        return networks[0] if after > before else networks[1]

    def eval_sigmas(self, network: str) -> torch.Tensor:
        """(4,) fp32 noise levels at which held-out losses of a network are measured."""
        low, high = self.levels[network]
        return torch.tensor([low + (high - low) * level for level in EVAL_LEVELS])

    def figures(self, network: str, errors: Sequence[float]) -> dict[str, float]:
        """What an evaluation says of one sample's errors at `eval_sigmas`.

        With two experts every figure is there under the expert's name too, and the mean of all
        samples' `loss` weights each expert by the width of its range.
        """
        named = zip(self.eval_sigmas(network).tolist(), errors, strict=True)
        levels = {f"loss_sigma_{sigma:.4g}": error for sigma, error in named}
        loss = sum(errors) / len(errors)
        if len(self.networks) == 1:
            return {"loss": loss, **levels}
        widths = {name: high - low for name, (low, high) in self.levels.items()}
        weight = widths[network] / (sum(widths.values()) / len(widths))
        own = {f"{network}/{name}": value for name, value in {"loss": loss, **levels}.items()}
        return {"loss": weight * loss, **own}

    @cached_property
    def _offset(self) -> float:
        return torch.rand((), generator=keyed_generator(self.seed, "experts")).item()


ONE_TRANSFORMER = Routing({MODEL: ALL_LEVELS})


def expert_levels(boundary: float) -> dict[str, tuple[float, float]]:
    """Range of the noise levels of each expert, that for high noise first."""
    return {HIGH: (boundary, 1.0), LOW: (0.0, boundary)}
