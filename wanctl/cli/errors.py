"""One line for each error that the user can fix; any other is a bug and keeps its traceback.

Exit codes: 0 done; 2 something the user can fix (docs/adr/0005).
"""

import errno

from wanctl.errors import UserError

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
}


class InterruptedByUserError(UserError):
    """Ctrl-C. Work that is finished is kept."""

    def __init__(self) -> None:
        super().__init__("stopped; the same command goes on from here")


def format_error(error: BaseException) -> list[str] | None:
    """Write an error that the user can fix as lines to print.

    Returns:
        One line per mistake; empty where a help page has been printed instead; None for a bug.
    """
    if isinstance(error, UserError):
        return str(error).splitlines()
    if _is_usage_error(error):
        return _format_usage_error(error)
    if isinstance(error, OSError) and error.errno in _ADVICE:
        named = f"{error.filename}: " if error.filename else ""
        return [f"{named}{error.strerror}; {_ADVICE[error.errno]}"]
    if _is_out_of_memory(error):
        return [
            f"out of memory ({_first_line(error)}); lower batch_size, frames, height or width with "
            "--set, use --set model.dtype=bf16, or run on a larger device"
        ]
    return None


def _is_usage_error(error: BaseException) -> bool:
    # Typer vendors click or depends on it, by version; the attributes are the same.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _format_usage_error(error: BaseException) -> list[str]:
    if type(error).__name__ == "NoArgsIsHelpError":
        return []
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    command = getattr(getattr(error, "ctx", None), "command_path", "wanctl")
    return [f"{command}: {message.rstrip('.')}; see `{command} --help`"]


def _is_out_of_memory(error: BaseException) -> bool:
    # By name: importing torch for its class takes two seconds.
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__
