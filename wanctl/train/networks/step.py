"""One optimizer step: each network that learns in it takes its turn with the same micro-batches."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from wanctl.device import to_device
from wanctl.train.accelerator import Processes, exchange_gradients
from wanctl.train.metrics import with_denominators
from wanctl.train.networks.trained import TrainedNetwork, frozen
from wanctl.train.objective import Objective, Work
from wanctl.train.rng import MicrobatchIndex


@dataclass(frozen=True)
class StepMetrics:
    """Figures of one step.

    Attributes:
        rates: `lr` of each network that learned; numbers of the host.
        names: of the other figures.
        values: (figures,) fp32 on the device, averaged over the processes.
        work: of this process.
    """

    rates: Mapping[str, float]
    names: Sequence[str]
    values: Tensor
    work: Work


class OptimizerStep:
    """Runs optimizer steps of an objective's networks.

    Args:
        objective: turns and losses.
        networks: the objective's networks in training.
        accelerator: of the run.
        processes: of the run, or the groups that compute each sample together.
        seed: of the run.
        accumulate: micro-batches of one process per step.
        steps: optimizer steps of the run.
    """

    def __init__(
        self,
        objective: Objective[Any],
        networks: Mapping[str, TrainedNetwork],
        accelerator: Accelerator,
        processes: Processes,
        *,
        seed: int,
        accumulate: int,
        steps: int,
    ) -> None:
        self.objective = objective
        self.networks = networks
        self.accelerator = accelerator
        self.processes = processes
        self.seed = seed
        self.accumulate = accumulate
        self.steps = steps
        self._turns_left: Counter[str] = Counter()
        self._work = Work()

    def microbatches(self, first: int) -> Iterator[MicrobatchIndex]:
        """Those of this process from step `first` on, in the order in which `run` takes them."""
        for step in range(first, self.steps):
            for index in range(self.accumulate):
                yield self._microbatch(step, index)

    def run(self, step: int, batches: Iterator[Any]) -> StepMetrics:
        """Let each network of this step learn from the step's micro-batches.

        Nothing is read from the device here.

        Args:
            step: number of the step, from 0.
            batches: of the `microbatches`; one step's are taken from it.
        """
        self._work = Work()
        held: list[Any] = []
        rates: dict[str, float] = {}
        names: list[str] = []
        values: list[Tensor] = []
        if not self._turns_left:  # the first step of this run
            left = (self.objective.turns(each) for each in range(step, self.steps))
            self._turns_left.update(turn for turns in left for turn in turns)
        for turn in self.objective.turns(step):
            network = self.networks[turn]
            prefix = network.metric_prefix
            rates[f"{prefix}lr"] = network.begin_turn(self._turns_left[turn])
            self._turns_left[turn] -= 1
            with self._learning(network) as models:
                figures = self._gradients(network, models, step, batches, held)
            means = self._mean_over_processes(list(figures.values()))
            found = list(figures)
            finite = means[[found.index("loss"), found.index("grad_norm")]].isfinite().all()
            network.apply(finite)
            names += [f"{prefix}{name}" for name in found]
            values.append(means)
        return StepMetrics(
            rates, names, values[0] if len(values) == 1 else torch.cat(values), self._work
        )

    def try_batch(self, batch: Any, microbatch: MicrobatchIndex) -> None:
        """Do the forward and backward pass of a batch as a step would, and drop the gradients."""
        network = self.networks[self.objective.turns(microbatch.step)[0]]
        device = self.accelerator.device
        with self._learning(network) as models, self.accelerator.no_sync(network.model):
            for part in self.objective.losses(network.name, models, batch, microbatch, device):
                self.accelerator.backward(part.per_sample.mean() * part.share)
        network.stepper.zero_grad()

    @contextmanager
    def _learning(self, network: TrainedNetwork) -> Iterator[Mapping[str, nn.Module]]:
        """Inside, a network is on the device and the others are constants; gives all for `losses`.

        Of networks that alternate the others wait in host memory.
        """
        others = [other for other in self.networks.values() if other is not network]
        if network.alternates:
            for other in others:
                other.residency.to_host()
            network.residency.to_device()
        with frozen(others):
            yield {n: o.model if o is network else o.module for n, o in self.networks.items()}

    def _gradients(
        self,
        network: TrainedNetwork,
        models: Mapping[str, nn.Module],
        step: int,
        batches: Iterator[Any],
        held: list[Any],
    ) -> dict[str, Tensor]:
        """Clipped gradients of all micro-batches, in the parameters; returns the figures.

        Args:
            network: whose turn it is.
            models: see `Objective.losses`.
            step: number of the step.
            batches: source of the step's batches, which are read when the first turn needs them.
            held: receives them; later turns find them there.
        """
        figures: dict[str, Tensor] = {}
        for index in range(self.accumulate):
            if index == len(held):
                held.append(next(batches))
            microbatch = self._microbatch(step, index)
            for name, value in self._micro_batch(network, models, held[index], microbatch).items():
                figures[name] = figures[name] + value if name in figures else value
        self.accelerator.unscale_gradients(network.stepper)
        norm = nn.utils.clip_grad_norm_(network.module.parameters(), network.options.clip_norm)
        return {**figures, "grad_norm": norm}

    def _micro_batch(
        self,
        network: TrainedNetwork,
        models: Mapping[str, nn.Module],
        batch: Any,
        microbatch: MicrobatchIndex,
    ) -> dict[str, Tensor]:
        """Add this micro-batch's gradients; processes exchange theirs in the last backward pass."""
        last_micro = microbatch.micro // self.processes.count == self.accumulate - 1
        figures: dict[str, Tensor] = {}
        complete = False
        losses = self.objective.losses(
            network.name, models, batch, microbatch, self.accelerator.device
        )
        with self.accelerator.no_sync(network.model):
            for part in losses:
                assert not complete, "the last losses of a micro-batch are those with `last`"
                complete = part.last
                self._work = self._work.plus(part.work)
                share = part.share / self.accumulate
                loss = part.per_sample.mean() * share
                if last_micro and complete:
                    exchange_gradients(network.model, loss)
                self.accelerator.backward(loss)
                logged = {"loss": part.per_sample, **part.parts, **with_denominators(part.ratios)}
                for name, value in logged.items():
                    mean = value.detach().float().mean() * share
                    figures[name] = figures[name] + mean if name in figures else mean
        assert complete, "the last losses of a micro-batch are those with `last`"
        return figures

    def _microbatch(self, step: int, index: int) -> MicrobatchIndex:
        micro = index * self.processes.count + self.processes.index
        return MicrobatchIndex(self.seed, step, micro)

    def _mean_over_processes(self, values: Sequence[Tensor]) -> Tensor:
        """(figures,) fp32 on the device."""
        device = self.accelerator.device
        stacked = torch.stack([to_device(value.detach().float(), device) for value in values])
        if self.accelerator.num_processes > 1:
            stacked = self.accelerator.reduce(stacked, "mean")
        assert isinstance(stacked, Tensor)
        return stacked
