"""A network while it is trained: its optimizer, its averages and the counts of its updates."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from wanctl.checkpoint.files.finite import nonfinite_names
from wanctl.train.accelerator import is_streamed, prepare_network
from wanctl.train.checkpoint import Checkpoint
from wanctl.train.memory.host import copies_for
from wanctl.train.memory.optimizer import offload_optimizer
from wanctl.train.networks.ema import EMA
from wanctl.train.networks.residency import Residency
from wanctl.train.objective import Network
from wanctl.train.optimizers.bf16 import keep_in_bf16
from wanctl.train.optimizers.options import OptimizerOptions
from wanctl.train.optimizers.plateau import Plateau
from wanctl.train.optimizers.saved_state import (
    evaluation_weights,
    load_optimizer_tensors,
    optimizer_tensors,
)
from wanctl.train.optimizers.schedule import learning_rate, set_learning_rate
from wanctl.train.optimizers.table import make_optimizer
from wanctl.train.resume import TrainingError


class TrainedNetwork:
    """One network of a run.

    Args:
        name: its key in the objective's `networks`.
        network: the module and its settings.
        options: of the run, for a network without its own.
        ema_decay: of the run, for a network that is averaged.
        ema_device: where averages are kept, see `EMA`.
        accelerator: of the run.
        is_main: whether it is the objective's first network.

    Attributes:
        module: the network itself.
        model: `module`, wrapped by accelerate where there are several processes.
        turns: optimizer steps in which it learned so far, the skipped ones included.
        bad_in_a_row: of those, the ones that were skipped since the last one that was applied.
        loss_is_finite: whether the newest of its losses that were read is finite.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        options: OptimizerOptions,
        ema_decay: float,
        ema_device: torch.device | None,
        accelerator: Accelerator,
        *,
        is_main: bool,
    ) -> None:
        self.name = name
        self.is_main = is_main
        self.options = network.optimizer or options
        self.observe = network.observe
        self.saves_frozen = network.saves_frozen
        self.alternates = network.alternates
        self.offloads_optimizer = network.offloads_optimizer
        self.scaler = accelerator.scaler
        self.module = network.module.train()
        if not is_streamed(self.module):
            self.module.to(accelerator.device)
        if self.options.weights == "bf16":
            keep_in_bf16(self.module)
        self.optimizer = make_optimizer(self.module, self.options)
        if network.offloads_optimizer:
            offload_optimizer(self.optimizer, copies_for(accelerator.device))
        self.model, self.stepper = prepare_network(
            accelerator, self.module, self.optimizer, skips_parameters=network.skips_parameters
        )
        self.ema = EMA(self.module, ema_decay if network.averaged else 0.0, ema_device)
        self.plateau = Plateau(self.options.plateau) if self.options.decay == "plateau" else None
        self.residency = Residency(self.module, self.optimizer, self.ema, accelerator.device)
        self.turns = 0
        self.bad_in_a_row = 0
        self.loss_is_finite = True

    @property
    def metric_prefix(self) -> str:
        """Start of the names of its metrics; empty for the main network, unless it alternates."""
        return "" if self.is_main and not self.alternates else f"{self.name}/"

    @property
    def gives_run_loss(self) -> bool:
        """Whether its loss is shown as that of the run."""
        return self.is_main or self.alternates

    @property
    def is_sound(self) -> bool:
        """Whether the last step was applied, or skipped by the gradient scaler with a finite loss.

        A network that begins with skipped steps has learned nothing yet.
        """
        if self.scaler is None:
            return not self.bad_in_a_row
        return self.loss_is_finite and not 0 < self.turns <= self.bad_in_a_row

    def nonfinite_weights(self) -> list[str]:
        """Names of the weights, and of their averages, that hold NaN or infinity."""
        return nonfinite_names([*self._weights().items(), *self.ema.shadow.items()])

    def begin_turn(self, steps_left: int) -> float:
        """Set the learning rate of this turn and return it.

        The schedule counts the network's own turns, so that one which starts late warms up too.

        Args:
            steps_left: optimizer steps of the run in which it learns, from this one on.
        """
        lr = learning_rate(self.options, self.turns, self.turns + steps_left)
        if self.plateau is not None:
            lr *= self.plateau.share
        set_learning_rate(self.optimizer, lr)
        self.turns += 1
        return lr

    def apply(self, finite: Tensor) -> None:
        """Let the optimizer step, unless the loss or its gradient is not finite.

        Args:
            finite: bool scalar on the device. The fused optimizer itself skips the step, as it does
                for a gradient scaler, so that the host need not know.
        """
        if self.scaler is None:  # the scaler finds overflows itself, and skips them
            self.optimizer.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.stepper.step()
        self.stepper.zero_grad()
        self.ema.update(self.module, finite)

    def count(self, loss: float, grad_norm: float) -> bool:
        """Count a turn whose figures were read; returns whether its update was applied."""
        self.loss_is_finite = math.isfinite(loss)
        applied = self.loss_is_finite and math.isfinite(grad_norm)
        self.bad_in_a_row = 0 if applied else self.bad_in_a_row + 1
        return applied

    def judge(self, loss: float) -> float | None:
        """Take the loss of an evaluation; returns the learning rate where it has been lowered."""
        if self.plateau is None or self.turns < self.options.warmup_steps:
            return None
        return self.options.lr * self.plateau.share if self.plateau.observe(loss) else None

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the module holds the averaged weights and is in evaluation mode."""
        self.module.eval()
        try:
            with evaluation_weights(self.optimizer), self.ema.swapped(self.module):
                yield
        finally:
            self.module.train()

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """File name without suffix -> tensors, as a checkpoint holds them."""
        tensors = {
            "model": self._weights(),
            "optimizer": optimizer_tensors(self.optimizer, self.module),
        }
        if self.ema.shadow:
            tensors["ema"] = self.ema.shadow
        return {self._file(part): values for part, values in tensors.items()}

    def counts(self) -> dict[str, Any]:
        """The numbers that a checkpoint holds beside the tensors."""
        counts = {
            "updates": int(self.ema.updates.item()),
            "bad_in_a_row": self.bad_in_a_row,
            "turns": self.turns,
        }
        return counts | ({} if self.plateau is None else {"plateau": self.plateau.state()})

    def restore(self, checkpoint: Checkpoint, counts: Mapping[str, Any]) -> None:
        """Restore this network. An average that was off until then starts from the weights.

        Args:
            checkpoint: holds the tensors.
            counts: those of `counts`; older checkpoints have no `turns`, those of runs with another
                decay no `plateau`.

        Raises:
            TrainingError: the checkpoint holds other parameters than those that are trained here.
        """
        weights, expected = checkpoint.tensors(self._file("model")), self._weights()
        if weights.keys() != expected.keys():
            odd = sorted(weights.keys() ^ expected.keys())
            raise TrainingError(
                f"{checkpoint.path}: holds {len(weights)} weights of the {self.name}, this run "
                f"trains {len(expected)} (e.g. {odd[0]} is in one of them only); go back to its "
                "settings, or give another --out"
            )
        self.module.load_state_dict(weights, strict=False)
        moments = checkpoint.tensors(self._file("optimizer"))
        load_optimizer_tensors(self.optimizer, self.module, moments)
        # Copied into the existing tensors, which the optimizer and the averages refer to.
        averages = checkpoint.tensors(self._file("ema"))
        self.ema.load(averages or dict(self.module.named_parameters()), counts["updates"])
        self.bad_in_a_row = counts["bad_in_a_row"]
        self.turns = counts.get("turns", checkpoint.step)
        if self.plateau is not None and "plateau" in counts:
            self.plateau.restore(counts["plateau"])
        self.loss_is_finite = True

    def _weights(self) -> dict[str, Tensor]:
        """What checkpoints hold of the module: all of it, or what is trained."""
        state = self.module.state_dict()
        if self.saves_frozen:
            return state
        trained = {name for name, p in self.module.named_parameters() if p.requires_grad}
        return {name: tensor for name, tensor in state.items() if name in trained}

    def _file(self, part: str) -> str:
        return part if self.is_main else f"{self.name}-{part}"


def trained_networks(
    networks: Mapping[str, Network],
    options: OptimizerOptions,
    ema_decay: float,
    ema_device: torch.device | None,
    accelerator: Accelerator,
) -> dict[str, TrainedNetwork]:
    """All networks of an objective, by name; the first is the main one. See TrainedNetwork."""
    trained: dict[str, TrainedNetwork] = {}
    for name, network in networks.items():
        trained[name] = TrainedNetwork(
            name, network, options, ema_decay, ema_device, accelerator, is_main=not trained
        )
        if network.alternates:  # the next one needs the device
            trained[name].residency.to_host()
    return trained


@contextmanager
def frozen(networks: Iterable[TrainedNetwork]) -> Iterator[None]:
    """Inside, the parameters of these networks are constants: a loss may go through them."""
    parameters = [p for network in networks for p in network.module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
