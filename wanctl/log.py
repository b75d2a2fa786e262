"""The logger, the console and the progress bars of every command.

On a terminal: coloured lines and bars. Elsewhere (a file, a pipe, a job scheduler): one event, one
line, with date, time and level, never wrapped; a bar becomes a line from time to time
(`progress_lines.py`).
"""

import datetime
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from wanctl.escaping import one_line
from wanctl.progress_lines import LineBar, Ticker
from wanctl.redact import redact, redact_values

log = logging.getLogger("wanctl")
console = Console(stderr=True)


@cache
def info_once(text: str) -> None:
    """Log a line that several parts of a command would log again."""
    log.info("%s", text)


@cache
def warn_once(text: str) -> None:
    """Warn of what several parts of a command would warn of again."""
    log.warning("%s", text)


class Bar(Protocol):
    """The interface of a progress bar that loops use."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Advance by `steps` and show `note` after the bar."""
        ...


class _RichProgressBar:
    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=steps, note=one_line(note))  # type: ignore[arg-type]


class _TerminalFormatter(logging.Formatter):
    """The message without credentials; escape sequences in it do not reach the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = redact(super().format(record))
        return "\n".join(one_line(line) for line in text.split("\n"))


class _LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00+00:00 INFO message`, on one line, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        now = datetime.datetime.fromtimestamp(record.created).astimezone()
        text = redact(super().format(record).rstrip())
        return f"{now.isoformat(timespec='seconds')} {record.levelname} {one_line(text)}"


class _LineHandler(logging.StreamHandler[Any]):
    """Writes lines to what `sys.stderr` is now, and remembers the last one.

    Attributes:
        last_s: monotonic time of the last line.
        message: the last message; empty before the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_LineFormatter())
        self.last_s = time.monotonic()
        self.message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # `setStream` flushes the former one, which may be closed
        super().emit(record)
        self.last_s = time.monotonic()
        self.message = record.getMessage()


def on_terminal() -> bool:
    """Whether the log is shown on a terminal; FORCE_COLOR does not make one of a file."""
    return console.is_terminal and (console.file is not sys.stderr or sys.stderr.isatty())


def setup_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the `wanctl` logger to stderr; called once, by the command line only.

    Args:
        verbose: show debug messages as well.
        quiet: show only warnings and no progress; set in all processes but the first.
    """
    handler: logging.Handler
    if on_terminal():
        handler = RichHandler(
            console=console, show_path=False, show_level=verbose, log_time_format="[%X]",
            markup=False,
        )  # fmt: skip
        handler.setFormatter(_TerminalFormatter("%(message)s"))
    else:
        handler = _LineHandler()
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any
) -> None:
    """Warnings of libraries as lines of the log; they would be two lines without a date."""
    log.warning("%s:%d: %s: %s", filename, lineno, category.__name__, message)


def logged_lines() -> bool:
    """Whether the log is made of lines with a date, and holds one."""
    handler = _line_handler()
    return handler is not None and bool(handler.message)


@contextmanager
def heartbeat(every_s: float = 50.0) -> Iterator[None]:
    """Log a line where a command off a terminal has logged nothing for `every_s`.

    A log then shows that the command lives also in phases without a bar, such as loading weights.
    """
    started = time.monotonic()

    def beat() -> None:
        handler = _line_handler()
        if handler is None or log.level > logging.INFO:
            return
        now = time.monotonic()
        if now - handler.last_s >= every_s:
            last = handler.message
            about = f"; last: {last[:200]}" if last else ""
            log.info("still running, %.0f s since the start%s", now - started, about)
            handler.message = last

    with Ticker(beat, min(every_s / 4, 5.0)):
        yield


def _line_handler() -> _LineHandler | None:
    return next((each for each in log.handlers if isinstance(each, _LineHandler)), None)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


class ProgressDisplay(Protocol):
    """Several progress bars at once, one per stage."""

    def bar(self, total: float | None, description: str) -> Bar:
        """Add a bar. `total` is None where the number of steps is unknown."""
        ...


class _TerminalDisplay:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, total: float | None, description: str) -> Bar:
        return _RichProgressBar(
            self._progress, self._progress.add_task(description, total=total, note="")
        )


class _LineDisplay:
    """Logs the state of each bar that is not at its end, at least once a minute."""

    def __init__(self) -> None:
        self._bars: list[LineBar] = []

    def bar(self, total: float | None, description: str) -> Bar:
        self._bars.append(LineBar(total, description))
        return self._bars[-1]

    def report(self) -> None:
        for bar in list(self._bars):
            if line := bar.line_if_due():
                log.info("%s", line)


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """Progress bars with rate and time left; lines without a terminal; hidden below level INFO."""
    if not on_terminal():
        lines = _LineDisplay()
        with Ticker(lines.report if log.level <= logging.INFO else None):
            yield lines
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=log.level > logging.INFO,
    )
    with bars:
        yield _TerminalDisplay(bars)


@contextmanager
def progress(total: float | None, description: str) -> Iterator[Bar]:
    """One progress bar with rate and time left; shown as in `progress_display`."""
    with progress_display() as bars:
        yield bars.bar(total, description)


class EventLog:
    """Machine-readable log, one JSON object per line: `{"time": ..., "event": ..., ...}`.

    Each line is one write to a file opened for appending, so that lines of several processes do
    not mix, and a killed run leaves complete lines.

    Args:
        path: the file; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **fields: Any) -> None:
        """Append one event."""
        if self._path is None:
            return
        line = json.dumps(
            {"time": timestamp(), "event": event, **redact_values(fields)}, ensure_ascii=False
        )
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path, flags, 0o644)
        try:
            os.write(descriptor, line.encode(errors="backslashreplace") + b"\n")
        finally:
            os.close(descriptor)


def timestamp() -> str:
    """Current time in UTC, in ISO 8601 with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
