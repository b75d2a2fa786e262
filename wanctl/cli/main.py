"""Entry point: runs the command line and turns every mistake into one line and exit code 2."""

import atexit
import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import NoReturn

import typer

from wanctl.cli import (  # noqa: F401  (importing a module registers its commands)
    bench,
    camera,
    data,
    doctor,
    evaluate,
    filters,
    pipeline,
    recipe,
    runs,
    weights,
)
from wanctl.cli.errors import (
    PIPE_CLOSED,
    SIGNALLED,
    PipeClosedError,
    check_arguments,
    exit_code,
    format_error,
    is_interrupt,
)
from wanctl.cli.options import Session
from wanctl.cli.program import app
from wanctl.distributed import world
from wanctl.errors import TerminatedError, UserError
from wanctl.redact import redact

RANK_DELAY_S = 4.0
GLOBAL_OPTIONS = ("--quiet", "-q", "--debug")
"""Options of the program that may also stand after the command's name."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 a mistake that the user can fix, 130 Ctrl-C.

    Other signals end it with 128 + their number: 143 for SIGTERM, 129 for SIGHUP.

    Args:
        args: the arguments; those of the process by default.
    """
    session = Session()
    if args is None:  # this process is the command
        atexit.register(_end_interrupted, session)
        _raise_at_signals()
        _end_while_importing()
        threading.excepthook = lambda bug: _print_traceback(
            bug.exc_type, bug.exc_value or bug.exc_type(), bug.exc_traceback
        )
    _escape_output()
    try:
        code = _run(list(sys.argv[1:] if args is None else args), session)
        _flush_output()
    except (BrokenPipeError, PipeClosedError):
        _close_output()
        code = PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        _delay_other_ranks()
        lines = format_error(error)
        if lines is None or (session.debug and not is_interrupt(error)):
            sys.excepthook = _print_traceback
            raise
        _print_errors(lines)
        _close_output()
        code = exit_code(error)
        session.interrupted = code if is_interrupt(error) else 0
        if session.interrupted and args is None:
            # another Ctrl-C ends what libraries do at the end, without their tracebacks
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code if isinstance(code, int) else 0)


def _end_interrupted(session: Session) -> None:
    """End with 130 and no other code.

    Python itself ends by the signal where Ctrl-C came while it evaluated text, as dataclasses do.
    Shells show 130 for both, other programs do not. It is registered first, so that it runs after
    everything that libraries do at the end.
    """
    if session.interrupted:
        sys.stderr.flush()
        os._exit(session.interrupted)


def _raise_at_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: clean up, one line, 128 + number.

    A signal that is ignored, as under `nohup`, stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        raise TerminatedError(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handle)


def _end_while_importing() -> None:
    """Let Ctrl-C end the process at once while a module is imported.

    There Python drops an exception that comes in a callback of its import locks, and extension
    modules make another one of it: the command would go on, or end with a traceback.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                try:
                    _print_errors(format_error(KeyboardInterrupt()) or [])
                finally:
                    os._exit(SIGNALLED + number)
            frame = frame.f_back
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle)


def _run(args: list[str], session: Session) -> int:
    check_arguments(args)
    program = typer.main.get_command(app)
    from wanctl.log import heartbeat

    with heartbeat():
        return program.main(
            _global_first(args), prog_name="wanctl", standalone_mode=False, obj=session
        )


def _global_first(args: list[str]) -> list[str]:
    """The arguments with GLOBAL_OPTIONS before the command's name; none are taken after `--`."""
    end = args.index("--") if "--" in args else len(args)
    first = [each for each in args[:end] if each in GLOBAL_OPTIONS]
    return [*first, *(each for each in args[:end] if each not in GLOBAL_OPTIONS), *args[end:]]


def _escape_output() -> None:
    """Write characters that the terminal's encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = "standard output"
        raise


def _close_output() -> None:
    """Drop what is left to write: the interpreter would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _delay_other_ranks() -> None:
    """Let rank 0 print an error that all processes raise.

    Its exit makes `torchrun` stop the others before their delay ends. A rank that fails alone
    prints its error after the delay.
    """
    with contextlib.suppress(UserError):  # a rank that is no number is the error to print
        if world.rank() > 0:
            time.sleep(RANK_DELAY_S)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug without the credentials that its messages may hold."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _print_errors(lines: Sequence[str]) -> None:
    """Print one line per error; with date and level where lines of a log stand before it."""
    from rich.console import Console

    from wanctl.log import log, logged_lines

    console = Console(stderr=True)
    for line in lines:
        if logged_lines():
            log.error("%s", line)
        else:
            console.print(redact(line), style="red", markup=False, highlight=False, soft_wrap=True)
