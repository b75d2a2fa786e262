"""Progress bars as lines of a log: how far, how fast, how long until the end."""

import datetime
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

TICK_S = 5.0
"""How often a bar's state is noted; the rate is that of the notes of RATE_WINDOW_S."""
LINE_EVERY_S = 30.0
RATE_WINDOW_S = 600.0


class Ticker:
    """Calls a function from time to time, in a thread of its own, inside the `with`.

    Args:
        call: what is called; None: no thread.
        every_s: seconds between calls; default: TICK_S.
    """

    def __init__(self, call: Callable[[], None] | None, every_s: float | None = None) -> None:
        self._call = call
        self._every_s = TICK_S if every_s is None else every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Ticker":
        if self._call is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._call is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._call is not None
        while not self._ended.wait(self._every_s):
            self._call()


class LineBar:
    """A bar whose state is a line of text.

    Args:
        total: number of steps; None where it is unknown.
        description: what the steps are.
        clock: seconds, ever rising.
    """

    def __init__(
        self,
        total: float | None,
        description: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._description = description
        self._clock = clock
        self._done = 0.0
        self._note = ""
        self._line_s = clock()
        # (time, steps done): the first note is taken a tick after the start, when a run that
        # resumes has counted the steps of earlier runs
        self._notes: deque[tuple[float, float]] = deque()

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Advance by `steps`; `note` says what was done last."""
        self._done += steps
        self._note = note

    @property
    def ended(self) -> bool:
        """Whether all steps are done."""
        return self._total is not None and self._done >= self._total

    def line_if_due(self) -> str:
        """Note the state; the line to log, or "" where one was logged a short time ago."""
        now = self._clock()
        self._notes.append((now, self._done))
        while now - self._notes[0][0] > RATE_WINDOW_S:
            self._notes.popleft()
        if self.ended or now - self._line_s < LINE_EVERY_S:
            return ""
        self._line_s = now
        return self.line(now)

    def line(self, now: float) -> str:
        """`scan footage: 3 of 12 (25 %), 0.05/s, 3 min left (ETA 12:30:00); bikes.mp4`."""
        parts = [f"{self._description}: {_count(self._done)}"]
        if self._total:
            share = 100 * self._done / self._total
            parts[0] += f" of {_count(self._total)} ({share:.0f} %)"
        start, before = self._notes[0]
        rate = (self._done - before) / (now - start) if now > start else 0.0
        if rate > 0:
            parts.append(f"{_count(rate)}/s")
            if self._total:
                parts.append(_time_left((self._total - self._done) / rate))
        else:
            parts.append(f"no step ended in the last {now - start:.0f} s, no ETA yet")
        text = ", ".join(parts)
        return f"{text}; {self._note}" if self._note else text


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `5 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _time_left(seconds: float) -> str:
    end = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=min(seconds, 1e9))
    return f"{duration(seconds)} left (ETA {end.isoformat(timespec='seconds')})"


def _count(number: float) -> str:
    """`7`, `0.25`, `12,000`, `3.4e9`: large counts are bytes."""
    if number >= 1e7:
        return f"{number / 1e9:.3g} G" if number >= 1e9 else f"{number / 1e6:.3g} M"
    return f"{number:,.0f}" if number == int(number) or number >= 1000 else f"{number:.3g}"
