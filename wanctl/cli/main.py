"""The way in: runs the program and turns every mistake into one line and exit code 2."""

import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import typer

from wanctl.cli import (  # noqa: F401  (importing adds commands)
    bench,
    data,
    heads,
    look,
    make,
    weights,
)
from wanctl.cli.errors import lines
from wanctl.cli.options import Session
from wanctl.cli.program import app
from wanctl.distributed import world

PATIENCE_S = 4.0


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 something the user can mend."""
    session = Session()
    program = typer.main.get_command(app)
    try:
        code = program.main(args, prog_name="wanctl", standalone_mode=False, obj=session)
    except Exception as error:
        _let_the_first_speak()
        told = lines(error)
        if told is None or session.debug:
            raise
        _print_errors(told)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _let_the_first_speak() -> None:
    """Of several processes that fail alike, let one say so: its end is the end of the others.

    A process that failed alone speaks a little later.
    """
    if world.rank() > 0:
        time.sleep(PATIENCE_S)


def _print_errors(told: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    for line in told:
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
