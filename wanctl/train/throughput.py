"""Speed, memory and mean loss of a run, shown while it goes and kept in speed.jsonl.

Times are no part of metrics.jsonl, which is the same in every run of the same recipe.
"""

import math
import resource
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from wanctl.log import Bar, console, log
from wanctl.progress_lines import duration
from wanctl.train.accelerator import Processes
from wanctl.train.metrics import MetricsFile
from wanctl.train.objective import Work

LINE_EVERY_S = 10.0
GIB = 2**30


@dataclass(frozen=True)
class Speed:
    """Speed between two readings of the device.

    Attributes:
        steps_per_s: optimizer steps; evaluations, previews and checkpoints are not counted.
        tokens_per_s: of all processes; None: the networks have no tokens.
        mfu: share of the device's peak that the operations of forward and backward pass take, what
            is computed twice left out (model FLOPs utilisation, arXiv 2204.02311); None: not known.
        memory_gib: largest memory so far: allocated on the GPU, or resident of the process.
        left_s: of the run at the pace so far, evaluations, previews and checkpoints included.
    """

    steps_per_s: float
    tokens_per_s: float | None
    mfu: float | None
    memory_gib: float
    left_s: float

    def line(self) -> dict[str, float]:
        """The known figures by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def note(self) -> str:
        """The known figures in words."""
        parts = [f"{self.steps_per_s:.2f} steps/s"]
        if self.tokens_per_s is not None:
            parts.append(f"{self.tokens_per_s:,.0f} tokens/s")
        if self.mfu is not None:
            parts.append(f"MFU {self.mfu:.0%}")
        return ", ".join([*parts, f"{self.memory_gib:.1f} GiB", f"{duration(self.left_s)} left"])


class ThroughputMeter:
    """Measures the speed of a run; shows it with the loss in a bar, or in lines from time to time.

    Args:
        name: the command, e.g. `train-vae`.
        first: steps that were done before this run.
        steps: last step of the run.
        window: number of steps whose losses are averaged.
        device: of this process.
        processes: of the run, or its groups; each has a batch of its own.
        peak: operations per second that the device reaches at best; None: not known.
        path: of speed.jsonl; None: in processes that write nothing.
    """

    def __init__(
        self,
        name: str,
        first: int,
        steps: int,
        window: int,
        *,
        device: torch.device,
        processes: Processes,
        peak: float | None,
        path: Path | None,
    ) -> None:
        self.name = name
        self.first = first
        self.steps = steps
        self.window = window
        self.device = device
        self.processes = processes
        self.peak = peak
        self._file = None if path is None else MetricsFile(path)
        if self._file is not None:
            self._file.truncate_after(first)
        self._losses: deque[float] = deque(maxlen=window)
        self._norm: float | None = None
        self._busy_s = self._read_busy_s = 0.0
        self._done = self._read_done = 0
        self._work = Work()
        self._speed: Speed | None = None
        self._started_s = self._logged_s = time.monotonic()

    @property
    def loss(self) -> float | None:
        """Mean loss of the last `window` steps of this run."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    @property
    def steps_per_s(self) -> float | None:
        """Over this run; evaluations, previews and checkpoints are not counted."""
        return self._done / self._busy_s if self._done else None

    def add_step(self, duration_s: float, work: Work) -> None:
        """Count one step."""
        self._busy_s += duration_s
        self._done += 1
        self._work = self._work.plus(work)

    def add_figures(self, loss: float, grad_norm: float) -> None:
        """Take figures of a step, which may be known some steps later; skipped steps have none."""
        if math.isfinite(loss):
            self._losses.append(loss)
        if math.isfinite(grad_norm):
            self._norm = grad_norm

    def read(self) -> Mapping[str, float]:
        """The speed since the last call, also written to speed.jsonl; after the device was read.

        Between two readings the host may be ahead of the device, so that times mean nothing.
        """
        steps, busy_s = self._done - self._read_done, self._busy_s - self._read_busy_s
        if not steps or not busy_s:
            return {}
        step = self.first + self._done
        pace_s = (time.monotonic() - self._started_s) / self._done
        tokens, flops = self._work
        self._speed = Speed(
            steps_per_s=steps / busy_s,
            tokens_per_s=tokens * self.processes.count / busy_s if tokens else None,
            mfu=flops / self.processes.group / busy_s / self.peak if flops and self.peak else None,
            memory_gib=peak_memory_bytes(self.device) / GIB,
            left_s=pace_s * (self.steps - step),
        )
        self._read_done, self._read_busy_s, self._work = self._done, self._busy_s, Work()
        if self._file is not None:
            self._file.append({"step": step, **self._speed.line()})
        return self._speed.line()

    def log(self, bar: Bar, lr: float, *, is_main_process: bool) -> None:
        """Advance the bar; without a terminal, log a line at most every ten seconds."""
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        norm = "" if self._norm is None else f"grad norm {self._norm:.3g}, "
        speed = f"{self.steps_per_s:.2f} steps/s" if self._speed is None else self._speed.note()
        note = f"{loss}lr {lr:.2e}, {norm}{speed}"
        bar.advance(1, note)
        step = self.first + self._done
        late = time.monotonic() - self._logged_s >= LINE_EVERY_S
        if is_main_process and late and step % self.window == 0 and not console.is_terminal:
            self._logged_s = time.monotonic()
            log.info("%s: step %d of %d, %s", self.name, step, self.steps, note)


def peak_memory_bytes(device: torch.device) -> float:
    """Largest memory so far: allocated on a GPU, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
