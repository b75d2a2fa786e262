"""Figures of a run: on the device until they are read, then one line per step in metrics.jsonl.

The file has the same bytes whether or not the run was interrupted.

Lines carry no times, so that an interrupted and an uninterrupted run can be compared with `cmp`.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wanctl.atomic import writing
from wanctl.textfiles import split_lines


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
            with self.path.open("a") as file:
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
            (step, rates, {name: next(numbers) for name in names})
            for step, rates, names in self._steps
        ]
        self._steps, self._values = [], []
        return steps


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def _json_safe(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
