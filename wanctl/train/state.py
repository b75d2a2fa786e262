"""State of a run that a checkpoint holds, and the checks that end a run or refuse a checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wanctl.checkpoint.files.finite import nonfinite_names
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.train.checkpoint import Checkpoint, prune_checkpoints, write_checkpoint
from wanctl.train.ema import EMA
from wanctl.train.optim import load_optimizer_tensors, optimizer_tensors

MAX_BAD_STEPS = 5
# fp16 starts with a loss scale of 65,536 and halves it at every overflow.
MAX_BAD_STEPS_FP16 = 25


class TrainingError(UserError):
    """Training cannot begin or cannot go on."""


class TrainState:
    """The part of a run that a checkpoint holds.

    Attributes:
        step: optimizer steps so far, the skipped ones included.
        bad_in_a_row: steps skipped since the last one that was applied.
        loss_is_finite: whether the loss of the newest step whose figures were read is finite.
        saved_step: step of the newest checkpoint on disk, -1 before there is one.
    """

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA, scaler: Any | None
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.ema = ema
        self.scaler = scaler
        self.step = 0
        self.bad_in_a_row = 0
        self.loss_is_finite = True
        self.saved_step = -1

    @property
    def is_sound(self) -> bool:
        """Whether the last step was applied, or skipped by the gradient scaler with a finite loss.

        A run that begins with skipped steps has learned nothing yet.
        """
        if self.scaler is None:
            return not self.bad_in_a_row
        return self.loss_is_finite and not 0 < self.step <= self.bad_in_a_row

    def nonfinite_weights(self) -> list[str]:
        """Names of the weights, and of their averages, that hold NaN or infinity."""
        return nonfinite_names([*self.module.state_dict().items(), *self.ema.shadow.items()])

    def write(self, folder: Path, identity: Mapping[str, Any], keep: int) -> None:
        """Write a checkpoint into `folder` and delete all but the newest `keep`.

        A state that is not finite is not written: it would replace the last one that is.
        """
        if not self.is_sound or self.nonfinite_weights():
            log.warning("%s: no checkpoint of step %d, whose loss or weights are not finite",
                        folder, self.step)  # fmt: skip
            return
        tensors = {
            "model": self.module.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.module),
        }
        if self.ema.shadow:
            tensors["ema"] = self.ema.shadow
        state = {"updates": int(self.ema.updates.item()), "bad_in_a_row": self.bad_in_a_row}
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        write_checkpoint(folder, self.step, tensors, identity=identity, state=state)
        prune_checkpoints(folder, keep)
        self.saved_step = self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore a checkpoint. An average that was off until then starts from the weights."""
        self.module.load_state_dict(checkpoint.tensors("model"))
        load_optimizer_tensors(self.optimizer, self.module, checkpoint.tensors("optimizer"))
        # Copied into the existing tensors, which the optimizer and the averages refer to.
        averages = checkpoint.tensors("ema")
        self.ema.load(averages or dict(self.module.named_parameters()), checkpoint.state["updates"])
        if self.scaler is not None and "scaler" in checkpoint.state:
            self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.step = self.saved_step = checkpoint.step
        self.bad_in_a_row = checkpoint.state["bad_in_a_row"]
        self.loss_is_finite = True


def check_identity(name: str, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Compare what must not differ between the run of a checkpoint and this one.

    Raises:
        TrainingError: names the first value that differs.
    """
    for key in sorted({*identity, *checkpoint.identity}):
        before, now = checkpoint.identity.get(key), identity.get(key)
        if before != now:
            raise TrainingError(
                f"{name}: {checkpoint.path} was trained with {key} {before}, this run has {now}; "
                "go back to that, or give another --out"
            )


def check_finite(name: str, state: TrainState, step: int, values: Mapping[str, float]) -> None:
    """Count steps in a row that were skipped; called for every step, in order.

    Args:
        name: the command, for messages.
        state: holds the count, which survives a restart.
        step: number of the step, from 1.
        values: its `loss` and `grad_norm`.

    Raises:
        TrainingError: too many in a row.
    """
    state.loss_is_finite = math.isfinite(values["loss"])
    if state.loss_is_finite and math.isfinite(values["grad_norm"]):
        state.bad_in_a_row = 0
        return
    scaled = state.scaler is not None
    state.bad_in_a_row += 1
    if not scaled:
        log.warning("%s: step %d skipped, its loss or gradient is not finite", name, step)
    if state.bad_in_a_row >= (MAX_BAD_STEPS_FP16 if scaled else MAX_BAD_STEPS):
        raise TrainingError(
            f"{name}: {state.bad_in_a_row} steps in a row up to step {step} had a loss or "
            f"gradient that is not finite; {_advice(state)}"
        )


def check_result(name: str, state: TrainState) -> None:
    """Refuse to write a model whose training ended with a loss or weights that are not finite.

    Raises:
        TrainingError: names the last finite checkpoint.
    """
    if not state.is_sound:
        reason = (
            f"the last {state.bad_in_a_row} of {state.step} steps had a loss or gradient that is "
            "not finite"
        )
    elif names := state.nonfinite_weights():
        reason = f"{len(names)} weights are not finite after step {state.step} (e.g. {names[0]})"
    else:
        return
    raise TrainingError(f"{name}: {reason}; no model was written; {_advice(state)}")


def _advice(state: TrainState) -> str:
    kept = f"the checkpoint of step {state.saved_step}" if state.saved_step >= 0 else "the start"
    return (
        "lower optimizer.lr, or set mixed_precision to bf16 or no; the same command then "
        f"continues from {kept}, which is the last finite one"
    )
