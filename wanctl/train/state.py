"""What a checkpoint holds: weights, their averages, the optimizer, and a few counters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wanctl.train.checkpoint import Checkpoint, prune_checkpoints, write_checkpoint
from wanctl.train.ema import EMA
from wanctl.train.optim import load_optimizer_tensors, optimizer_tensors


class TrainState:
    """The part of a run that outlives the process.

    Attributes:
        step: optimizer steps that were begun, the skipped ones included.
        updates: steps that changed the weights; the average's warm-up counts these.
        bad_in_a_row: steps skipped since the last good one.
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
        self.updates = 0
        self.bad_in_a_row = 0
        self.saved_step = -1

    def write(self, folder: Path, identity: Mapping[str, Any], keep: int) -> None:
        """Write a checkpoint into `folder` and delete all but the newest `keep`."""
        tensors = {
            "model": self.module.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.module),
        }
        if self.ema.shadow:
            tensors["ema"] = self.ema.shadow
        state = {"updates": self.updates, "bad_in_a_row": self.bad_in_a_row}
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        write_checkpoint(folder, self.step, tensors, identity=identity, state=state)
        prune_checkpoints(folder, keep)
        self.saved_step = self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint back. An average switched on since then starts from the weights."""
        self.module.load_state_dict(checkpoint.tensors("model"))
        load_optimizer_tensors(self.optimizer, self.module, checkpoint.tensors("optimizer"))
        # Copied into the tensors that exist: the optimizer and the averages hold on to them.
        averages = checkpoint.tensors("ema")
        self.ema.load(averages or dict(self.module.named_parameters()))
        if self.scaler is not None and "scaler" in checkpoint.state:
            self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.step = self.saved_step = checkpoint.step
        self.updates = checkpoint.state["updates"]
        self.bad_in_a_row = checkpoint.state["bad_in_a_row"]
