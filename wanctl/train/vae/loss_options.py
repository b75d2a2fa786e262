"""Settings of the VAE's loss terms, with the fields of the recipe's `train_vae.loss` section."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.train.optimizers.options import OptimizerOptions, read_optimizer_options


@dataclass(frozen=True)
class LossTerm:
    """A term's weight and the first step with it."""

    weight: float
    from_step: int

    def active(self, step: int) -> bool:
        """Whether the term is computed at a step."""
        return self.weight > 0 and step >= self.from_step


@dataclass(frozen=True)
class KLOptions(LossTerm):
    """KL divergence; `reduction` is one of `losses.kl`."""

    reduction: str


@dataclass(frozen=True)
class PerceptualOptions(LossTerm):
    """Perceptual distance: frames per sample (None: all), network, files of its weights."""

    frames: int | None
    network: str
    weights: tuple[Path, ...]


@dataclass(frozen=True)
class AdversarialOptions(LossTerm):
    """Adversarial term: the discriminator's sizes, penalty and optimizer, the term's weight.

    Attributes:
        width: channels of the discriminator's first layer.
        layers: of the discriminator that halve height and width.
        adaptive: multiply `weight` by the ratio of gradients at the decoder's last layer.
        r1: weight of the gradient penalty; 0: none.
        r1_every: steps from one penalty to the next, which counts as often.
        optimizer: of the discriminator.
    """

    width: int
    layers: int
    adaptive: bool
    r1: float
    r1_every: int
    optimizer: OptimizerOptions


@dataclass(frozen=True)
class VAELossOptions:
    """The terms of the loss."""

    l1: LossTerm
    kl: KLOptions
    perceptual: PerceptualOptions
    adversarial: AdversarialOptions


def vae_loss_options(section: Mapping[str, Any]) -> VAELossOptions:
    """Options from the values of a `train_vae.loss` section, nested mappings."""
    optimizer = section["adversarial"]["optimizer"]
    return VAELossOptions(
        l1=LossTerm(**section["l1"]),
        kl=KLOptions(**section["kl"]),
        perceptual=PerceptualOptions(**section["perceptual"]),
        adversarial=AdversarialOptions(
            **{**section["adversarial"], "optimizer": read_optimizer_options(optimizer)}
        ),
    )
