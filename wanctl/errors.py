"""Errors meant for the person at the terminal: one line, exit code 2, no traceback.

The message says where, what was got, what is allowed and what to do. Every boundary subclasses
`UserError` (RecipeError, VideoError, WeightsError, ...); anything else that escapes is a bug.
"""

import errno
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import ClassVar, Literal

FailureKind = Literal["error", "memory", "unreachable"]

# errors of a disk, a network drive or the system's limits, not of a file's content
_UNREACHABLE = {
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOSPC,
    errno.ENOENT, errno.EACCES, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH,
}  # fmt: skip


class UserError(ValueError):
    """An error that the user can fix. `str(error)` is the line that is printed.

    Args:
        lines: one per mistake. A line break inside one, as of a file's name, makes no second line.

    Attributes:
        lines: the same.
        failure_kind: kind of failure in the quarantine where work on a file raises it.
    """

    failure_kind: ClassVar[FailureKind] = "error"

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


class TerminatedError(KeyboardInterrupt):
    """A signal other than Ctrl-C asks the command to end. Work that is finished is kept.

    Args:
        number: of the signal; the command exits with 128 + number, as shells report it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"signal {number}")


class ProblemsError(UserError):
    """Several problems of one recipe, reported together.

    Args:
        problems: (dotted recipe path, message) pairs, e.g. `("curate.filters.ocr.max", "...")`.
            The recipe loader turns each path into `file:line`.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__(*(f"{path}: {message}" for path, message in self.problems))


_OUT_OF_MEMORY = re.compile(
    r"(?:cannot|can't) allocate memory|out of memory|insufficient memory|bad_alloc"
    r"|failed to (?:map segment|allocate)|can't start new thread|unable to allocate"
    r"|STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any library says that memory does not suffice."""
    # by name: importing torch for its class takes two seconds
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"} or _OUT_OF_MEMORY.search(str(error)))


def failure_kind(error: BaseException) -> FailureKind:
    """Kind of failure in the quarantine: `memory`, `unreachable`, or `error`."""
    if is_out_of_memory(error):
        return "memory"
    if isinstance(error, UserError):
        return error.failure_kind
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return "unreachable"
    return "error"


def unknown(kind: str, got: str, allowed: Iterable[str], *, listing: str | None = None) -> str:
    """Write that a name is not in a table, with the nearest name that is.

    Args:
        kind: what the table holds.
        got: the name.
        allowed: names of the table.
        listing: command that lists them, named in the place of a long table.
    """
    names = sorted(allowed)
    near = get_close_matches(got, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    all_of_them = (
        f"`{listing}` lists all {len(names)}" if listing else f"there are: {', '.join(names)}"
    )
    return f"no {kind} named {got!r}{hint} ({all_of_them})"
