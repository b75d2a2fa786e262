"""Settings of the training loop, and what a run returns."""

from collections.abc import Mapping
from dataclasses import dataclass

from wanctl.train.optimizers.options import OptimizerOptions


@dataclass(frozen=True)
class LoopOptions:
    """Settings of the loop; the fields and their defaults are those of the recipe's sections."""

    steps: int
    seed: int
    optimizer: OptimizerOptions
    accumulate: int
    mixed_precision: str
    ema_decay: float
    ema_device: str
    log_every: int
    eval_every: int
    preview_every: int
    checkpoint_every: int
    keep_checkpoints: int
    trackers: tuple[str, ...]


@dataclass(frozen=True)
class TrainingResult:
    """Result of a run.

    Attributes:
        step: optimizer steps the model has seen in all runs together.
        trained: steps done by this run; 0 where the model was finished before.
        loss: mean training loss of this run's last `log_every` steps; None without steps.
        steps_per_s: of this run, evaluations and previews not counted; None without steps.
        figures: the last evaluation; empty without steps.
    """

    step: int
    trained: int = 0
    loss: float | None = None
    steps_per_s: float | None = None
    figures: Mapping[str, float] | None = None
