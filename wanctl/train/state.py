"""State of a run that a checkpoint holds, and the checks of its figures that end a run."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wanctl.log import log
from wanctl.train.checkpoint import Checkpoint, prune_checkpoints, write_checkpoint
from wanctl.train.networks.trained import TrainedNetwork
from wanctl.train.resume import NETWORKS, SETTINGS, TrainingError

MAX_BAD_STEPS = 5
# fp16 starts with a loss scale of 65,536 and halves it at every overflow.
MAX_BAD_STEPS_FP16 = 25


class TrainState:
    """The part of a run that a checkpoint holds.

    Args:
        networks: by name, the main one first.
        scaler: the gradient scaler of fp16, which the networks share.

    Attributes:
        step: optimizer steps so far, the skipped ones included.
        saved_step: step of the newest checkpoint on disk, -1 before there is one.
    """

    def __init__(self, networks: Mapping[str, TrainedNetwork], scaler: Any | None) -> None:
        self.networks = networks
        self.scaler = scaler
        self.step = 0
        self.saved_step = -1

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the modules hold the averaged weights, in evaluation mode, without gradients."""
        with ExitStack() as stack, torch.no_grad():
            for network in self.networks.values():
                stack.enter_context(network.averaged_weights())
            yield

    def write(
        self, folder: Path, identity: Mapping[str, Any], settings: Mapping[str, Any], keep: int
    ) -> None:
        """Write a checkpoint into `folder` and delete all but the newest `keep`.

        A state that is not finite is not written: it would replace the last one that is.

        Args:
            folder: of the checkpoints.
            identity: what a run that continues must have in common with this one.
            settings: what it should have in common.
            keep: number of checkpoints.
        """
        for network in self.networks.values():
            if not network.is_sound or network.nonfinite_weights():
                log.warning("%s: no checkpoint of step %d, %s loss or weights are not finite",
                            folder, self.step, _whose(network))  # fmt: skip
                return
        tensors: dict[str, Mapping[str, Tensor]] = {}
        state: dict[str, Any] = {}
        others: dict[str, dict[str, int]] = {}
        for network in self.networks.values():
            tensors |= network.tensors()
            if network.is_main:
                state = {**network.counts()}
            else:
                others[network.name] = network.counts()
        if others:
            state[NETWORKS] = others
        if settings:
            state[SETTINGS] = settings
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        write_checkpoint(folder, self.step, tensors, identity=identity, state=state)
        prune_checkpoints(folder, keep)
        self.saved_step = self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore every network and the counts of a checkpoint that `check_networks` accepts."""
        state = checkpoint.state
        for name, network in self.networks.items():
            network.restore(checkpoint, state if network.is_main else state[NETWORKS][name])
        if self.scaler is not None and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved_step = checkpoint.step


def check_finite(name: str, state: TrainState, step: int, values: Mapping[str, float]) -> None:
    """Count steps in a row that each network skipped; called for every step, in order.

    Args:
        name: the command, for messages.
        state: holds the counts, which survive a restart.
        step: number of the step, from 1.
        values: `loss` and `grad_norm` of each network that learned in it.

    Raises:
        TrainingError: too many in a row.
    """
    for network in state.networks.values():
        prefix = network.metric_prefix
        if f"{prefix}loss" not in values or network.count(
            values[f"{prefix}loss"], values[f"{prefix}grad_norm"]
        ):
            continue
        scaled = state.scaler is not None
        if not scaled:
            whose = ", its" if network.is_main else f" for the {network.name}, whose"
            log.warning("%s: step %d skipped%s loss or gradient is not finite",
                        name, step, whose)  # fmt: skip
        if network.bad_in_a_row >= (MAX_BAD_STEPS_FP16 if scaled else MAX_BAD_STEPS):
            of = "" if network.is_main else f" of the {network.name}"
            raise TrainingError(
                f"{name}: {network.bad_in_a_row} steps{of} in a row up to step {step} had a loss "
                f"or gradient that is not finite; {_advice(state, network)}"
            )


def check_result(name: str, state: TrainState) -> None:
    """Refuse to write a model whose training ended with a loss or weights that are not finite.

    Raises:
        TrainingError: names the last finite checkpoint.
    """
    for network in state.networks.values():
        of = "" if network.is_main else f" of the {network.name}"
        if not network.is_sound:
            reason = (
                f"the last {network.bad_in_a_row} of {network.turns} steps{of} had a loss or "
                "gradient that is not finite"
            )
        elif names := network.nonfinite_weights():
            reason = (
                f"{len(names)} weights{of} are not finite after step {state.step} (e.g. {names[0]})"
            )
        else:
            continue
        raise TrainingError(f"{name}: {reason}; no model was written; {_advice(state, network)}")


def _whose(network: TrainedNetwork) -> str:
    return "its" if network.is_main else f"its {network.name}'s"


def _advice(state: TrainState, network: TrainedNetwork) -> str:
    lr = "optimizer.lr" if network.is_main else f"the {network.name}'s learning rate"
    kept = f"the checkpoint of step {state.saved_step}" if state.saved_step >= 0 else "the start"
    return (
        f"lower {lr}, or set mixed_precision to bf16 or no; the same command then "
        f"continues from {kept}, which is the last finite one"
    )
