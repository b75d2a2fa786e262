"""One line for each error that the user can fix; any other is a bug and keeps its traceback.

Exit codes: 0 done; 2 something the user can fix (docs/adr/0005); 130 stopped by Ctrl-C, 143 by
SIGTERM, 129 by SIGHUP; 141 the reader of a pipe has ended, as in `wanctl filters list | head -1`.
"""

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from wanctl.errors import TerminatedError, UserError
from wanctl.escaping import one_line

FIXABLE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141
SIGNALLED = 128
"""Shells add this to the number of the signal that ended a command."""

# Where in a library's source a message comes from.
_LIBRARY_LINE = re.compile(r"^\[[^\]]*\] ")
# Errors of the operating system that the user can fix, and how.
_ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere with --out",
    errno.EDQUOT: "free some of your quota, or write elsewhere with --out",
    errno.EACCES: "give yourself access, or write elsewhere with --out",
    errno.EPERM: "give yourself access, or write elsewhere with --out",
    errno.EROFS: "write elsewhere with --out",
    errno.ENOTDIR: "a file has the name of a folder that is needed; move it or choose another name",
    errno.EISDIR: "a folder has the name of a file that is needed; move it or choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk or the network drive reports a fault",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or write to another file system",
    errno.ELOOP: "links lead in a circle; name the file itself",
    errno.EBUSY: "it is in use; try again later",
    errno.ETXTBSY: "it is in use; try again later",
    errno.ESTALE: "the network drive has lost it; mount it again",
    errno.ENXIO: "it is no file that can be read or written; name another",
    errno.ENODEV: "it is no file that can be read or written; name another",
}


class InterruptedByUserError(UserError):
    """Ctrl-C, or another signal to end. Work that is finished is kept.

    Args:
        code: exit code of the command, 128 + number of the signal.
    """

    def __init__(self, code: int = INTERRUPTED) -> None:
        self.code = code
        super().__init__("stopped; the same command goes on from here")


class PipeClosedError(Exception):
    """The program that reads the output has ended; there is nobody to tell."""


def format_error(error: BaseException) -> list[str] | None:
    """Write an error that the user can fix as lines to print.

    Returns:
        One line per mistake; empty where a help page has been printed instead; None for a bug.
    """
    if is_interrupt(error):
        return [str(InterruptedByUserError())]
    if isinstance(error, UserError):
        return [one_line(line) for line in error.lines]
    if _is_usage_error(error):
        return _format_usage_error(error)
    if isinstance(error, OSError) and error.errno in _ADVICE:
        where = error.filename or "a file that was being read or written"
        return [one_line(f"{where}: {error.strerror}; {_ADVICE[error.errno]}")]
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):
        text = error.object[max(0, error.start - 40) : error.end + 20]
        return [
            f"{one_line(text)}: holds bytes that are not UTF-8; rename it, or write it in UTF-8"
        ]
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return ["a path begins with `~`, and there is no such home folder; write the path in full"]
    if _is_out_of_memory(error):
        return [
            f"out of memory ({_first_line(error)}); lower batch_size, frames, height or width with "
            "--set, use --set model.dtype=bf16, or run on a larger device"
        ]
    if _is_lost_process(error):
        reason = _LIBRARY_LINE.sub("", _first_line(error)).rstrip(".")
        return [
            one_line(
                f"another process of this run has ended or cannot be reached ({reason}); its own "
                "message says why, and the same command goes on from the last checkpoint"
            )
        ]
    return None


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is the cause; click turns it into an exception of its own."""
    return isinstance(error, KeyboardInterrupt | InterruptedByUserError) or (
        type(error).__name__ == "Abort"
    )


def exit_code(error: BaseException) -> int:
    """The exit code for an error that `format_error` can write."""
    if isinstance(error, TerminatedError):
        return SIGNALLED + error.number
    if isinstance(error, InterruptedByUserError):
        return error.code
    return INTERRUPTED if is_interrupt(error) else FIXABLE


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments with bytes that are no UTF-8: they could not be stored or shown.

    Raises:
        UserError: names the argument and the byte; or the working folder is gone.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(
            f"the working folder cannot be used ({error.strerror}); change to another with `cd`"
        ) from None
    for number, argument in enumerate(arguments, 1):
        for position, each in enumerate(argument, 1):
            if "\ud800" <= each <= "\udfff" or each == "\0":
                byte = f"0x{ord(each) & 0xFF:02x}"
                raise UserError(
                    f"argument {number} ({one_line(argument[:60])}): byte {byte} at character "
                    f"{position} is not UTF-8 text; write it in UTF-8, or rename the file"
                )


def _is_usage_error(error: BaseException) -> bool:
    # Typer vendors click or depends on it, by version; the attributes are the same.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _format_usage_error(error: BaseException) -> list[str]:
    if type(error).__name__ == "NoArgsIsHelpError":
        return []
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    command = getattr(getattr(error, "ctx", None), "command_path", "wanctl")
    return [one_line(f"{command}: {message.rstrip('.')}; see `{command} --help`")]


def _is_out_of_memory(error: BaseException) -> bool:
    # By name: importing torch for its class takes two seconds.
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _is_lost_process(error: BaseException) -> bool:
    """Whether torch's collectives say that another process does not answer; gloo's have no type."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"DistBackendError", "DistNetworkError", "DistStoreError"}:
        return True
    return isinstance(error, RuntimeError) and "/gloo/" in str(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__
