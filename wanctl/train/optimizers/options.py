"""Settings of an optimizer, its schedule and its groups of parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GroupOptions:
    """Settings of the parameters whose names match a pattern.

    Attributes:
        match: pattern of names (patterns.py), e.g. `lora_B` or `text_embedding`.
        lr_factor: of the run's learning rate.
        weight_decay: of all of them, norms and biases included; None: that of other parameters.
    """

    match: str
    lr_factor: float
    weight_decay: float | None


@dataclass(frozen=True)
class PlateauOptions:
    """When the learning rate is lowered, see `Plateau`."""

    factor: float
    patience: int
    threshold: float
    final_share: float


@dataclass(frozen=True)
class OptimizerOptions:
    """Settings of an optimizer; fields and defaults are those of the recipe's `optimizer` section.

    Which of them a row of the table reads is said there.
    """

    name: str
    lr: float
    adamw_lr: float | None
    warmup_steps: int
    decay: str
    final_share: float
    plateau: PlateauOptions
    weight_decay: float
    betas: tuple[float, float]
    momentum: float
    clip_norm: float
    groups: tuple[GroupOptions, ...]
    weights: str


def read_optimizer_options(section: Mapping[str, Any]) -> OptimizerOptions:
    """Options from the values of an `optimizer` section, nested mappings."""
    plateau = PlateauOptions(**section["plateau"])
    groups = tuple(GroupOptions(**group) for group in section["groups"])
    return OptimizerOptions(**{**section, "plateau": plateau, "groups": groups})
