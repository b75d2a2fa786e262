"""Entry point: runs the command line and turns every mistake into one line and exit code 2."""

import sys
import time
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

import typer

from wanctl.cli import (  # noqa: F401  (importing a module registers its commands)
    bench,
    data,
    doctor,
    filters,
    pipeline,
    recipe,
    weights,
)
from wanctl.cli.errors import format_error
from wanctl.cli.options import Session
from wanctl.cli.program import app
from wanctl.distributed import world
from wanctl.redact import redact

RANK_DELAY_S = 4.0


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 an error that the user can fix.

    Args:
        args: the arguments; those of the process by default.
    """
    session = Session()
    program = typer.main.get_command(app)
    try:
        code = program.main(args, prog_name="wanctl", standalone_mode=False, obj=session)
    except Exception as error:
        _delay_other_ranks()
        lines = format_error(error)
        if lines is None or session.debug:
            sys.excepthook = _print_traceback
            raise
        _print_errors(lines)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _delay_other_ranks() -> None:
    """Let rank 0 print an error that all processes raise.

    Its exit makes `torchrun` stop the others before their delay ends. A rank that fails alone
    prints its error after the delay.
    """
    if world.rank() > 0:
        time.sleep(RANK_DELAY_S)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug without the credentials that its messages may hold."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _print_errors(lines: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    for line in lines:
        console.print(redact(line), style="red", markup=False, highlight=False, soft_wrap=True)
