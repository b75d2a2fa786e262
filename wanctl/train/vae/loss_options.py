"""Settings of the VAE's loss terms, with the fields of the recipe's `train_vae.loss` section."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
class VAELossOptions:
    """The terms of the loss."""

    l1: LossTerm
    kl: KLOptions
    perceptual: PerceptualOptions


def vae_loss_options(section: Mapping[str, Any]) -> VAELossOptions:
    """Options from the values of a `train_vae.loss` section, nested mappings."""
    return VAELossOptions(
        l1=LossTerm(**section["l1"]),
        kl=KLOptions(**section["kl"]),
        perceptual=PerceptualOptions(**section["perceptual"]),
    )
