"""One writer per data set directory."""

import os
from collections.abc import Callable
from pathlib import Path

from wanctl.errors import UserError


class LockedError(UserError):
    """Another process writes to this data set."""


def take_lock(folder: Path) -> Callable[[], None]:
    """Lock `folder` for this process; returns the function that releases it.

    The lock is the kernel's (`flock` on `folder/.lock`): it goes away with the process however
    that ends, so a `kill -9` leaves nothing to clean up. A second lock from the same process is
    granted, because commands may run one after the other in one interpreter.

    Raises:
        LockedError: another process holds it; names its process id.
    """
    try:
        import fcntl  # noqa: PLC0415  not on Windows, where runs are not guarded
    except ImportError:
        return lambda: None
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        if holder == str(os.getpid()):
            return lambda: None
        raise LockedError(
            f"{folder}: in use by another wanctl (process {holder or 'unknown'}); "
            "wait for it to end, or choose another folder with --out"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return _Release(descriptor)


class _Release:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
