"""One logger, one console, one look of progress bar for every command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger("wanctl")
console = Console(stderr=True)


class Bar(Protocol):
    """What a loop needs of a progress bar."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Move on by `steps` and show `note` behind the bar."""
        ...


class _RichBar:
    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=steps, note=note)  # type: ignore[arg-type]


def setup_logging(*, verbose: bool = False) -> None:
    """Send the `wanctl` logger to stderr; called once, by the command line only."""
    handler = RichHandler(
        console=console, show_path=False, show_level=verbose, log_time_format="[%X]", markup=False
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


@contextmanager
def progress(total: float | None, description: str) -> Iterator[Bar]:
    """A progress bar with rate and time left; silent when stderr is not a terminal."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        yield _RichBar(bar, bar.add_task(description, total=total, note=""))
