"""Steps per second and mean loss of a run, shown while it goes."""

import math
import time
from collections import deque

from wanctl.log import Bar, console, log

LINE_EVERY_S = 10.0


class ThroughputMeter:
    """Measures steps per second; shows them with the loss in a bar, or in a line from time to time.

    Args:
        name: the command, e.g. `train-vae`.
        first: steps that were done before this run.
        steps: last step of the run.
        window: number of steps whose losses are averaged.
    """

    def __init__(self, name: str, first: int, steps: int, window: int) -> None:
        self.name = name
        self.first = first
        self.steps = steps
        self.window = window
        self._losses: deque[float] = deque(maxlen=window)
        self._busy_s = 0.0
        self._done = 0
        self._logged_s = time.monotonic()

    @property
    def loss(self) -> float | None:
        """Mean loss of the last `window` steps of this run."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    @property
    def steps_per_s(self) -> float | None:
        """Over this run; evaluations, previews and checkpoints are not counted."""
        return self._done / self._busy_s if self._done else None

    def add_step(self, duration_s: float) -> None:
        """Count one step."""
        self._busy_s += duration_s
        self._done += 1

    def add_loss(self, loss: float) -> None:
        """Take the loss of a step, which may be known some steps later; skipped steps have none."""
        if math.isfinite(loss):
            self._losses.append(loss)

    def log(self, bar: Bar, lr: float, *, is_main_process: bool) -> None:
        """Advance the bar; without a terminal, log a line at most every ten seconds."""
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        note = f"{loss}lr {lr:.2e}, {self.steps_per_s:.2f} steps/s"
        bar.advance(1, note)
        step = self.first + self._done
        late = time.monotonic() - self._logged_s >= LINE_EVERY_S
        if is_main_process and late and step % self.window == 0 and not console.is_terminal:
            self._logged_s = time.monotonic()
            log.info("%s: step %d of %d, %s", self.name, step, self.steps, note)
