"""The logger, the console and the progress bars of every command."""

import datetime
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
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

from wanctl.redact import redact, redact_values

log = logging.getLogger("wanctl")
console = Console(stderr=True)


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
        self._progress.update(self._task, advance=steps, note=note)  # type: ignore[arg-type]


def setup_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the `wanctl` logger to stderr; called once, by the command line only.

    Args:
        verbose: show debug messages as well.
        quiet: show only warnings and no progress; set in all processes but the first.
    """
    handler = RichHandler(
        console=console, show_path=False, show_level=verbose, log_time_format="[%X]", markup=False
    )
    handler.setFormatter(_RedactingFormatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


class _RedactingFormatter(logging.Formatter):
    """Masks credentials in messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


class ProgressDisplay:
    """Several progress bars at once, one per stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, total: float | None, description: str) -> Bar:
        """Add a bar. `total` is None where the number of steps is unknown."""
        return _RichProgressBar(
            self._progress, self._progress.add_task(description, total=total, note="")
        )


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """Progress bars with rate and time left; hidden without a terminal or below level INFO."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal or log.level > logging.INFO,
    )
    with bars:
        yield ProgressDisplay(bars)


@contextmanager
def progress(total: float | None, description: str) -> Iterator[Bar]:
    """One progress bar with rate and time left; hidden as in `progress_display`."""
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
