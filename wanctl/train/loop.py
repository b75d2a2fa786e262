"""The training loop of the VAE and the transformer, which it knows as an `Objective`.

A step is a pure function of the weights, the optimizer's state and the step number: batches and
noise are keyed (rng.py), the learning rate is computed, so a checkpoint needs no generator and
no loader position, and a run that was killed continues as if it had not been.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wanctl.atomic import make_folder
from wanctl.background import prefetch
from wanctl.device import to_device
from wanctl.log import log, progress
from wanctl.train.accelerator import make_accelerator, start_trackers
from wanctl.train.checkpoint import Checkpoint, newest_checkpoint
from wanctl.train.ema import EMA
from wanctl.train.metrics import MetricsFile, PendingMetrics
from wanctl.train.objective import Objective
from wanctl.train.optim import (
    OptimizerOptions,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from wanctl.train.rng import MicrobatchIndex
from wanctl.train.signals import StopRequest
from wanctl.train.state import TrainState, check_finite, check_identity, check_result
from wanctl.train.throughput import ThroughputMeter


@dataclass(frozen=True)
class LoopOptions:
    """Settings of the loop; the fields and their defaults are those of the recipe's sections."""

    steps: int
    seed: int
    optimizer: OptimizerOptions
    accumulate: int
    mixed_precision: str
    ema_decay: float
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


def train(
    objective: Objective[Any],
    folder: Path,
    options: LoopOptions,
    *,
    device: torch.device,
    identity: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Train to `options.steps`, continuing whatever `folder` holds.

    Args:
        objective: model, batches and loss.
        folder: receives metrics.jsonl, checkpoints/, previews/, tracker/ and the model.
        options: steps, precision, intervals.
        device: of this process (`accelerator.start_processes`).
        identity: JSON values; a checkpoint with other values is refused, e.g. of another model.

    Raises:
        TrainingError: the checkpoint belongs to another model, or the loss was not finite
            several times in a row or at the end.
        KeyboardInterrupt: stopped by a signal; the checkpoint is written. TerminatedError, which
            is one, after a signal other than Ctrl-C.
    """
    make_folder(folder)
    identity = dict(identity or {})
    checkpoint = newest_checkpoint(folder / "checkpoints")
    if checkpoint is not None:
        check_identity(objective.name, checkpoint, identity)
    finished = objective.saved_step(folder)
    if finished is not None and finished >= options.steps:
        log.info("%s: finished before, %s holds the model of step %d; raise `steps` to train on",
                 objective.name, folder, finished)  # fmt: skip
        return TrainingResult(finished)
    run = _Run(objective, folder, options, device, identity)
    with StopRequest() as stop:
        return run.run_steps(checkpoint, stop)


class _Run:
    """One call of `train`: model, optimizer, state, files and meters."""

    def __init__(
        self,
        objective: Objective[Any],
        folder: Path,
        options: LoopOptions,
        device: torch.device,
        identity: dict[str, Any],
    ) -> None:
        self.objective = objective
        self.folder = folder
        self.options = options
        self.identity = identity
        self.accelerator = make_accelerator(
            device,
            options.mixed_precision,
            options.trackers,
            folder / "tracker",
            skips_parameters=objective.skips_parameters,
        )
        self.device = self.accelerator.device
        self.module = objective.module.to(self.device).train()
        optimizer = make_optimizer(self.module, options.optimizer)
        self.model, self.stepper = self.accelerator.prepare(self.module, optimizer)
        ema = EMA(self.module, options.ema_decay)
        self.state = TrainState(self.module, optimizer, ema, self.accelerator.scaler)
        self.metrics = MetricsFile(folder / "metrics.jsonl")
        self.pending = PendingMetrics()
        self.throughput = ThroughputMeter(objective.name, 0, options.steps, options.log_every)
        self.figures: dict[str, float] = {}

    def run_steps(self, checkpoint: Checkpoint | None, stop: StopRequest) -> TrainingResult:
        """Restore, run the steps that are left, save the model."""
        name, steps = self.objective.name, self.options.steps
        if checkpoint is not None:
            self.state.restore(checkpoint)
            log.info("%s: continuing at step %d of %d", name, checkpoint.step, steps)
        first = self.state.step
        self.throughput = ThroughputMeter(name, first, steps, self.options.log_every)
        if self.accelerator.is_main_process:
            self.metrics.truncate_after(first)
        start_trackers(self.accelerator, name, first)
        batches = prefetch(self.objective.batch, self._microbatches(first))
        with progress(steps, name) as bar, contextlib.closing(batches), self._lines_kept():
            bar.advance(first)
            while self.state.step < steps:
                started_s = time.monotonic()
                lr = self._step(batches)
                reads = self._reads_figures(stop)
                if reads:
                    self._read_figures()
                self.throughput.add_step(time.monotonic() - started_s)
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
            figures=self.figures,
        )

    def _microbatches(self, first: int) -> Iterator[MicrobatchIndex]:
        for step in range(first, self.options.steps):
            for index in range(self.options.accumulate):
                yield self._microbatch(step, index)

    def _microbatch(self, step: int, index: int) -> MicrobatchIndex:
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        return MicrobatchIndex(self.options.seed, step, index * processes + rank)

    def _step(self, batches: Iterator[Any]) -> float:
        """Do one optimizer step: every micro-batch, clip, apply. Returns its learning rate.

        Nothing is read from the device here: its figures are read by `_read_figures`.
        """
        lr = learning_rate(self.options.optimizer, self.state.step, self.options.steps)
        set_learning_rate(self.state.optimizer, lr)
        totals: dict[str, Tensor] = {}
        for index in range(self.options.accumulate):
            for name, part in self._micro_batch(next(batches), index).items():
                totals[name] = totals[name] + part if name in totals else part
        norm = self.accelerator.clip_grad_norm_(
            self.module.parameters(), self.options.optimizer.clip_norm
        )
        figures = {**totals, "grad_norm": torch.as_tensor(norm)}
        values = self._mean_over_processes(list(figures.values()))
        names = list(figures)
        self._apply(values[[names.index("loss"), names.index("grad_norm")]].isfinite().all())
        self.state.step += 1
        self.pending.add(self.state.step, lr, names, values)
        return lr

    def _micro_batch(self, batch: Any, index: int) -> dict[str, Tensor]:
        """Add this micro-batch's gradients; processes exchange gradients on the last one."""
        share = 1.0 / self.options.accumulate
        last = index == self.options.accumulate - 1
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            microbatch = self._microbatch(self.state.step, index)
            losses = self.objective.loss(self.model, batch, microbatch, self.device)
            self.accelerator.backward(losses.per_sample.mean() * share)
        values = {"loss": losses.per_sample, **losses.parts}
        return {name: value.detach().float().mean() * share for name, value in values.items()}

    def _apply(self, finite: Tensor) -> None:
        """Let the optimizer step, unless the loss or its gradient is not finite.

        Args:
            finite: bool scalar on the device. The fused optimizer itself skips the step, as it does
                for a gradient scaler, so that the host need not know.
        """
        if self.state.scaler is None:  # the scaler finds overflows itself, and skips them
            self.state.optimizer.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.stepper.step()
        self.stepper.zero_grad()
        self.state.ema.update(self.module, finite)

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
        for step, lr, values in self.pending.read():
            check_finite(self.objective.name, self.state, step, values)
            self.throughput.add_loss(values["loss"])
            self._record({"step": step, **values, "lr": lr})

    @contextlib.contextmanager
    def _lines_kept(self) -> Iterator[None]:
        """Write the lines of steps that were done before an error ends the run."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(RuntimeError):  # a device that failed cannot be read
                for step, lr, values in self.pending.read():
                    self._record({"step": step, **values, "lr": lr})
            raise

    def _mean_over_processes(self, values: Sequence[Tensor]) -> Tensor:
        """(figures,) fp32 on the device."""
        stacked = torch.stack([to_device(value.detach().float(), self.device) for value in values])
        if self.accelerator.num_processes > 1:
            stacked = self.accelerator.reduce(stacked, "mean")
        assert isinstance(stacked, Tensor)
        return stacked

    def _record(self, line: Mapping[str, float | str]) -> None:
        if self.accelerator.is_main_process:
            self.metrics.append(line)
        if line["step"] % self.options.log_every == 0 or "eval" in line:
            group = "eval" if "eval" in line else "train"
            numbers = {f"{group}/{k}": v for k, v in line.items() if k not in ("step", "eval")}
            self.accelerator.log(numbers, step=int(line["step"]))

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.options.steps

    def _evaluate_and_write(self) -> None:
        """Evaluate, write previews, then the checkpoint, each at its own interval."""
        evaluates, previews = (
            self._due(self.options.eval_every),
            self._due(self.options.preview_every),
        )
        if (evaluates or previews) and self.accelerator.is_main_process:
            with self._averaged_weights():
                if evaluates:
                    self._evaluate()
                if previews:
                    folder = self.folder / "previews"
                    folder.mkdir(exist_ok=True)
                    self.objective.preview(folder, self.state.step, self.device)
        if self._due(self.options.checkpoint_every):
            self._checkpoint()
        self.accelerator.wait_for_everyone()

    def _evaluate(self) -> None:
        split = self.objective.eval_split
        self.figures = self.objective.evaluate(self.device)
        self._record({"step": self.state.step, "eval": split, **self.figures})
        text = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        log.info("%s: step %d, %s clips: %s", self.objective.name, self.state.step, split, text)

    @contextlib.contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Inside, the module holds the averaged weights, in evaluation mode, without gradients."""
        self.module.eval()
        try:
            with self.state.ema.swapped(self.module), torch.no_grad(), self.accelerator.autocast():
                yield
        finally:
            self.module.train()

    def _checkpoint(self) -> None:
        if self.accelerator.is_main_process and self.state.saved_step != self.state.step:
            self.metrics.sync()
            folder = self.folder / "checkpoints"
            self.state.write(folder, self.identity, self.options.keep_checkpoints)

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
        self.accelerator.end_training()
        raise stop.exception()

    def _finish(self) -> None:
        """Write the model with the averaged weights."""
        if self.accelerator.is_main_process:
            with self._averaged_weights():
                self.objective.save(self.folder, self.state.step, self.device)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
