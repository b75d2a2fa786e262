"""The training loop of the VAE and the transformer, whose networks it knows as an `Objective`.

A step is a pure function of the weights, the optimizer's state and the step number: batches and
noise are keyed (rng.py), the learning rate is computed, so a checkpoint needs no generator and
no loader position, and a run that was killed continues as if it had not been.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wanctl.atomic import make_folder
from wanctl.background import prefetch
from wanctl.estimate.hardware import peak_rate
from wanctl.log import log, progress
from wanctl.train.accelerator import Processes, end_trackers, make_accelerator, quiet_writers
from wanctl.train.checkpoint import Checkpoint, newest_checkpoint
from wanctl.train.evaluation.evaluator import Evaluator
from wanctl.train.metrics import RunMetrics
from wanctl.train.networks.peak import out_of_memory, try_largest_batch
from wanctl.train.networks.step import OptimizerStep
from wanctl.train.networks.trained import trained_networks
from wanctl.train.objective import Objective, Work
from wanctl.train.options import LoopOptions, TrainingResult
from wanctl.train.resume import check_identity, check_networks, warn_of_changed_settings
from wanctl.train.signals import StopRequest
from wanctl.train.state import TrainState, check_finite, check_result
from wanctl.train.throughput import ThroughputMeter


def train(
    objective: Objective[Any],
    folder: Path,
    options: LoopOptions,
    *,
    device: torch.device,
    group: int = 1,
    identity: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Train to `options.steps`, continuing whatever `folder` holds.

    Args:
        objective: networks, batches and losses.
        folder: receives metrics.jsonl, checkpoints/, previews/, tracker/ and the model.
        options: steps, precision, intervals.
        device: of this process (`accelerator.start_processes`).
        group: processes that compute each sample together.
        identity: JSON values; a checkpoint with other values is refused, e.g. of another model.
        settings: JSON values; where a checkpoint has others, a warning names them.

    Raises:
        TrainingError: the checkpoint belongs to another model or lacks a network, or a loss was
            not finite several times in a row or at the end.
        KeyboardInterrupt: stopped by a signal; the checkpoint is written. TerminatedError, which
            is one, after a signal other than Ctrl-C.
    """
    make_folder(folder)
    identity = dict(identity or {})
    checkpoint = newest_checkpoint(folder / "checkpoints")
    if checkpoint is not None:
        check_identity(objective.name, checkpoint, identity)
        check_networks(objective.name, checkpoint, list(objective.networks))
        warn_of_changed_settings(objective.name, checkpoint, settings or {})
    finished = objective.saved_step(folder)
    if finished is not None and finished >= options.steps:
        log.info("%s: finished before, %s holds the model of step %d; raise `steps` to train on",
                 objective.name, folder, finished)  # fmt: skip
        return TrainingResult(finished)
    run = _Run(objective, folder, options, (device, group), identity, dict(settings or {}))
    with StopRequest() as stop, quiet_writers(), out_of_memory(objective):
        return run.run_steps(checkpoint, stop)


class _Run:
    """One call of `train`: networks, state, files and meters."""

    def __init__(
        self,
        objective: Objective[Any],
        folder: Path,
        options: LoopOptions,
        place: tuple[torch.device, int],
        identity: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        device, group = place
        self.objective = objective
        self.folder = folder
        self.options = options
        self.identity = identity
        self.settings = settings
        self.accelerator = make_accelerator(
            device, options.mixed_precision, options.trackers, folder / "tracker"
        )
        self.device = self.accelerator.device
        self.processes = Processes(
            self.device, self.accelerator.process_index, self.accelerator.num_processes
        ).in_groups(group)
        networks = trained_networks(
            objective.networks,
            options.optimizer,
            options.ema_decay,
            torch.device("cpu") if options.ema_device == "cpu" else None,
            self.accelerator,
        )
        self.state = TrainState(networks, self.accelerator.scaler)
        self.step = OptimizerStep(
            objective,
            networks,
            self.accelerator,
            self.processes,
            seed=options.seed,
            accumulate=options.accumulate,
            steps=options.steps,
        )
        self.metrics = RunMetrics(folder / "metrics.jsonl", self.accelerator, options.log_every)
        self.throughput = self._meter(0)
        self.evaluator = Evaluator(objective, folder, self.metrics, self.processes)

    def run_steps(self, checkpoint: Checkpoint | None, stop: StopRequest) -> TrainingResult:
        """Restore, run the steps that are left, save the model."""
        name, steps = self.objective.name, self.options.steps
        if checkpoint is not None:
            self.state.restore(checkpoint)
            log.info("%s: continuing at step %d of %d", name, checkpoint.step, steps)
        first = self.state.step
        networks = self.state.networks
        try_largest_batch(self.objective, self.step, networks, self.accelerator, self.options.seed)
        self.throughput = self._meter(first)
        self.metrics.start(name, first)
        self.evaluator.start()
        batches = prefetch(self.objective.batch, self.step.microbatches(first))
        with progress(steps, name) as bar, contextlib.closing(batches), self.metrics.kept():
            bar.advance(first)
            if not first:
                self._evaluate_and_write()  # what training starts from
            while self.state.step < steps:
                started_s = time.monotonic()
                lr, work = self._step(batches)
                reads = self._reads_figures(stop)
                if reads:
                    self._read_figures()
                self.throughput.add_step(time.monotonic() - started_s, work)
                if reads:
                    self.metrics.record_speed(self.state.step, self.throughput.read())
                self.throughput.log(bar, lr, is_main_process=self.accelerator.is_main_process)
                self._evaluate_and_write()
                if reads and self._should_stop(stop):
                    self._interrupt(stop)
        check_result(name, self.state)
        self._finish()  # also if all steps were done but the model was not written
        return TrainingResult(
            step=self.state.step,
            trained=self.state.step - first,
            loss=self.throughput.loss,
            steps_per_s=self.throughput.steps_per_s,
            figures=self.evaluator.figures,
        )

    def _meter(self, first: int) -> ThroughputMeter:
        path = self.folder / "speed.jsonl" if self.accelerator.is_main_process else None
        return ThroughputMeter(
            self.objective.name,
            first,
            self.options.steps,
            self.options.log_every,
            device=self.device,
            processes=self.processes,
            peak=peak_rate(self.device),
            path=path,
        )

    def _step(self, batches: Iterator[Any]) -> tuple[float, Work]:
        """Do one optimizer step.

        Returns:
            Learning rate of the first network that learned; the work of this process.

        Nothing is read from the device here: its figures are read by `_read_figures`.
        """
        figures = self.step.run(self.state.step, batches)
        self.state.step += 1
        self.metrics.add(self.state.step, figures.rates, figures.names, figures.values)
        return next(iter(figures.rates.values())), figures.work

    def _reads_figures(self, stop: StopRequest) -> bool:
        """Whether the figures of the last steps are needed on the host now."""
        options = self.options
        intervals = (options.log_every, options.eval_every, options.preview_every)
        return (
            any(map(self._due, (*intervals, options.checkpoint_every)))
            # several processes exchange signals when all of them read
            or (stop.requested and self.accelerator.num_processes == 1)
        )

    def _read_figures(self) -> None:
        """Write a line for every step since the last call, and end a run that diverges."""
        for step, rates, values in self.metrics.read():
            check_finite(self.objective.name, self.state, step, values)
            self._observe(step, values)
            for network in self.state.networks.values():
                prefix = network.metric_prefix
                if network.gives_run_loss and f"{prefix}loss" in values:
                    norm = values[f"{prefix}grad_norm"]
                    self.throughput.add_figures(values[f"{prefix}loss"], norm)
            self.metrics.record({"step": step, **values, **rates})

    def _observe(self, step: int, values: Mapping[str, float]) -> None:
        """Pass the figures of a step to the networks that want to know them."""
        for network in self.state.networks.values():
            start = network.metric_prefix
            if network.observe is not None and f"{start}loss" in values:
                own = {n.removeprefix(start): v for n, v in values.items() if n.startswith(start)}
                network.observe(step, own)

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.options.steps

    def _evaluate_and_write(self) -> None:
        """Evaluate, write previews, then the checkpoint, each at its own interval."""
        step, options = self.state.step, self.options
        evaluates, previews = self._due(options.eval_every), self._due(options.preview_every)
        if evaluates or previews:
            with self.state.averaged_weights(), self.accelerator.autocast():
                if evaluates:
                    self._judge(self.evaluator.evaluate(step))
                if previews:
                    self.evaluator.preview(step)
        if step and self._due(options.checkpoint_every):
            self._checkpoint()

    def _judge(self, figures: Mapping[str, float]) -> None:
        """Let the schedules follow an evaluation."""
        split, judged = self.objective.eval_split, self.objective.judged
        for network in self.state.networks.values():
            own = f"{network.metric_prefix}{judged}"  # with two experts each has its own figures
            if (lr := network.judge(figures.get(own, figures[judged]))) is not None:
                log.info("%s: the %s %s has stopped falling; learning rate%s lowered to %.3g",
                         self.objective.name, split, judged,
                         f" of the {network.name}" if network.metric_prefix else "",
                         lr)  # fmt: skip

    def _checkpoint(self) -> None:
        """Write a checkpoint in the main process; the others wait in the next step for it."""
        if self.accelerator.is_main_process and self.state.saved_step != self.state.step:
            self.metrics.sync()
            folder = self.folder / "checkpoints"
            keep = self.options.keep_checkpoints
            self.state.write(folder, self.identity, self.settings, keep)
            if self.objective.saves_with_checkpoints and self.state.saved_step == self.state.step:
                self._save()

    def _should_stop(self, stop: StopRequest) -> bool:
        """Whether any process received a signal; all must stop at the same step."""
        if self.accelerator.num_processes == 1:
            return stop.requested
        flag = torch.tensor(float(stop.requested), device=self.device)
        reduced = self.accelerator.reduce(flag, "sum")
        assert isinstance(reduced, Tensor)
        return bool(reduced.item())

    def _interrupt(self, stop: StopRequest) -> None:
        if self.state.step == self.options.steps:
            return
        self._checkpoint()
        log.info("%s: stopped at step %d of %d; the same command continues from there",
                 self.objective.name, self.state.step, self.options.steps)  # fmt: skip
        end_trackers(self.accelerator)
        raise stop.exception()

    def _finish(self) -> None:
        """Write the model with the averaged weights."""
        if self.accelerator.is_main_process:
            self._save()
        self.accelerator.wait_for_everyone()
        end_trackers(self.accelerator)

    def _save(self) -> None:
        with self.state.averaged_weights(), self.accelerator.autocast():
            self.objective.save(self.folder, self.state.step, self.device)
