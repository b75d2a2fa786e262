"""What the user can mend, said in one line each; everything else is a bug and keeps its traceback.

Exit codes: 0 done; 2 something the user can mend (docs/adr/0005).
"""

import errno

from wanctl.errors import UserError

# What the machine refuses, rather than what the program got wrong.
_ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere with --out",
    errno.EDQUOT: "free some of your quota, or write elsewhere with --out",
    errno.EACCES: "give yourself access, or write elsewhere with --out",
    errno.EPERM: "give yourself access, or write elsewhere with --out",
    errno.EROFS: "write elsewhere with --out",
    errno.ENOTDIR: "a file lies where a folder is wanted",
    errno.EISDIR: "a folder lies where a file is wanted",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk or the network drive reports a fault",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class InterruptedByUserError(UserError):
    """Ctrl-C. What is finished stays finished."""

    def __init__(self) -> None:
        super().__init__("stopped; the same command goes on from here")


def lines(error: BaseException) -> list[str] | None:
    """The lines to print for an error, or None where it is a bug."""
    if isinstance(error, UserError):
        return str(error).splitlines()
    if _is_usage(error):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in _ADVICE:
        named = f"{error.filename}: " if error.filename else ""
        return [f"{named}{error.strerror}; {_ADVICE[error.errno]}"]
    if _is_out_of_memory(error):
        return [
            f"out of memory ({_first_line(error)}); lower batch_size, frames, height or width with "
            "--set, use --set model.dtype=bf16, or run on a larger device"
        ]
    return None


def _is_usage(error: BaseException) -> bool:
    # Typer carries click inside or beside it, depending on its version; the shape is the same.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _usage(error: BaseException) -> list[str]:
    if type(error).__name__ == "NoArgsIsHelpError":
        return []  # the help page has been printed instead
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    command = getattr(getattr(error, "ctx", None), "command_path", "wanctl")
    return [f"{command}: {message.rstrip('.')}; see `{command} --help`"]


def _is_out_of_memory(error: BaseException) -> bool:
    # By name, since importing torch to ask takes two seconds.
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__
