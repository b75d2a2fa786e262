"""Figures of a run: on the device until they are read, then one line per step in metrics.jsonl.

The file has the same bytes whether or not the run was interrupted.

Lines carry no times, so that an interrupted and an uninterrupted run can be compared with `cmp`.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from wanctl.atomic import WriteError, writing
from wanctl.textfiles import split_lines
from wanctl.train.accelerator import start_trackers, track

# Ends the name of a figure by which the figure of the same name is divided when it is read.
DENOMINATOR = "/denominator"


class MetricsFile:
    """Appends lines; each reaches the operating system before `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Opened for each line: a rename by `truncate_after` must not leave a stale handle behind.
    def append(self, values: Mapping[str, float | int | str]) -> None:
        """Write one line. Floats keep every bit; what is not finite becomes null."""
        line = json.dumps({k: _json_safe(v) for k, v in values.items()}, allow_nan=False)
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def sync(self) -> None:
        """Force the lines to disk; called before the checkpoint that relies on them."""
        if self.path.exists():
            with writing(self.path), self.path.open("a") as file:
                os.fsync(file.fileno())

    def truncate_after(self, step: int) -> None:
        """Drop lines of later steps, and a last line that was cut in the middle."""
        if not self.path.exists():
            return
        kept = []
        for line in split_lines(self.path.read_text(encoding="utf-8")):
            if (number := _step_of(line)) is None or number > step:
                break
            kept.append(line + "\n")
        temporary = self.path.with_suffix(".tmp")
        with writing(self.path):
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(self.path)

    def read(self) -> list[dict[str, float | int | str | None]]:
        """All lines, as dictionaries."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in split_lines(self.path.read_text(encoding="utf-8"))]


class RunMetrics:
    """Figures of a run's steps and evaluations, in metrics.jsonl and in the trackers.

    Args:
        path: of metrics.jsonl, which the main process writes.
        accelerator: of the run; holds the trackers.
        log_every: steps from one line to the next in the trackers.
    """

    def __init__(self, path: Path, accelerator: Accelerator, log_every: int) -> None:
        self._file = MetricsFile(path)
        self._pending = PendingMetrics()
        self._accelerator = accelerator
        self._log_every = log_every

    def start(self, name: str, first_step: int) -> None:
        """Drop lines after step `first_step`, and open the trackers under the command's name.

        A run that begins drops its evaluation before the first step, too: it makes it again.
        """
        if self._accelerator.is_main_process:
            self._file.truncate_after(first_step or -1)
        start_trackers(self._accelerator, name, first_step)

    def add(
        self, step: int, rates: Mapping[str, float], names: Sequence[str], values: Tensor
    ) -> None:
        """Keep the figures of one step on the device; arguments as of `PendingMetrics.add`."""
        self._pending.add(step, rates, names, values)

    def read(self) -> list[tuple[int, Mapping[str, float], dict[str, float]]]:
        """(step, learning rates, figures) of the steps since the last call, to be recorded."""
        return self._pending.read()

    def record(self, line: Mapping[str, float | str]) -> None:
        """Write the line of a step, or of an evaluation, which has `eval`."""
        if self._accelerator.is_main_process:
            self._file.append(line)
        if line["step"] % self._log_every == 0 or "eval" in line:
            group = "eval" if "eval" in line else "train"
            numbers = {f"{group}/{k}": v for k, v in line.items() if k not in ("step", "eval")}
            track(self._accelerator, numbers, int(line["step"]))

    def record_speed(self, step: int, speed: Mapping[str, float]) -> None:
        """Pass figures of a run's speed to the trackers, at the steps that they get."""
        if speed and step % self._log_every == 0:
            track(self._accelerator, {f"speed/{k}": v for k, v in speed.items()}, step)

    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of evaluations so far."""
        return [line for line in self._file.read() if "eval" in line]

    def sync(self) -> None:
        """Force the lines to disk; called before the checkpoint that relies on them."""
        self._file.sync()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write the lines of steps that were done before an error ends the run."""
        try:
            yield
        except BaseException:
            with suppress(RuntimeError, WriteError):  # a device that failed cannot be read
                for step, rates, values in self.read():
                    self.record({"step": step, **values, **rates})
            raise


class PendingMetrics:
    """Figures of steps that are still on the device.

    A host that reads them at each step would wait for the device at each step; here one read
    fetches all steps since the last.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, Mapping[str, float], tuple[str, ...]]] = []
        self._values: list[Tensor] = []

    def add(
        self, step: int, rates: Mapping[str, float], names: Sequence[str], values: Tensor
    ) -> None:
        """Keep the figures of one step.

        Args:
            step: its number, from 1.
            rates: its learning rates by name.
            names: one per figure.
            values: (figures,) fp32 on the device.
        """
        self._steps.append((step, rates, tuple(names)))
        self._values.append(values)

    def read(self) -> list[tuple[int, Mapping[str, float], dict[str, float]]]:
        """(step, learning rates, figures) of the steps since the last call; one transfer."""
        if not self._steps:
            return []
        numbers = iter(torch.cat(self._values).tolist())
        steps = [
            (step, rates, _quotients({name: next(numbers) for name in names}))
            for step, rates, names in self._steps
        ]
        self._steps, self._values = [], []
        return steps


def with_denominators(ratios: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Numerators and denominators as two figures each, which are averaged and divided on reading.

    Args:
        ratios: those of `Losses`.
    """
    figures = {name: numerator for name, (numerator, _) in ratios.items()}
    return figures | {name + DENOMINATOR: below for name, (_, below) in ratios.items()}


def _quotients(figures: dict[str, float]) -> dict[str, float]:
    """Replace the two means of each ratio by it; one whose denominator is 0 is left out."""
    numbers = {name: value for name, value in figures.items() if not name.endswith(DENOMINATOR)}
    for name in [name for name in numbers if name + DENOMINATOR in figures]:
        below = figures[name + DENOMINATOR]
        if below:
            numbers[name] /= below
        else:
            del numbers[name]
    return numbers


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def _json_safe(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
