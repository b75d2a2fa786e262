"""Locks of folders: one process writes there, or several that share the work.

Locks are the kernel's (`flock` on small files in the directory), which releases them when their
process ends, so that a `kill -9` leaves nothing to clean up. On shared storage they hold
between machines where the file system supports it (NFS 4, Lustre with -o flock, GPFS).
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wanctl.atomic import make_folder
from wanctl.errors import UserError
from wanctl.log import log

Release = Callable[[], None]

FOLDER_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


class LockedError(UserError):
    """Another process writes to this data set."""


def lock_alone(folder: Path) -> Release:
    """Lock `folder` for this process alone; returns the function that releases it.

    A second lock from the same process is granted, because commands may run one after the other in
    one interpreter.

    Raises:
        LockedError: another process holds it; names its process id.
    """
    lock = _try_flock(folder / FOLDER_LOCK, shared=False)
    if lock is None:
        holder = _owner(folder / FOLDER_LOCK)
        if holder == str(os.getpid()):
            return lambda: None
        if shares := _running_shards(folder):
            raise LockedError(
                f"{folder}: in use by other wanctls (shards {', '.join(shares)}); wait for them "
                "to end, or choose another folder with --out"
            )
        raise LockedError(
            f"{folder}: in use by another wanctl (process {holder or 'unknown'}); "
            "wait for it to end, or choose another folder with --out"
        )
    lock.write_owner()
    return lock


@contextmanager
def locked(folder: Path, what: str = "", *, wait: bool = False) -> Iterator[None]:
    """Lock a folder of results while the block runs; nothing of the lock stays in it.

    The folder is made. One that is still empty at the end is removed again.

    Args:
        folder: the folder.
        what: the part of the work there that is locked; "": all of it.
        wait: wait for a process that holds the lock.

    Raises:
        LockedError: another process holds it (without `wait`); names its process id.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    make_folder(folder)
    path = folder / (f"{FOLDER_LOCK}-{what}" if what else FOLDER_LOCK)
    lock = _lock_present_file(path, wait=wait)
    try:
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            lock()
        with contextlib.suppress(OSError):  # not empty
            for each in made:
                each.rmdir()


def _lock_present_file(path: Path, *, wait: bool) -> "_Lock | None":
    """Lock a file that its holders delete; None where this process holds it already."""
    while True:
        lock = _wait_flock(path) if wait else _try_flock(path, shared=False)
        if lock is None:
            holder = _owner(path)
            if holder == str(os.getpid()):
                return None
            raise LockedError(
                f"{path.parent}: in use by another wanctl (process {holder or 'unknown'}); "
                "wait for it to end, or choose another folder"
            )
        if lock.is_of(path):
            lock.write_owner()
            return lock
        lock()  # of a file that was deleted meanwhile


def lock_shard(folder: Path, index: int, count: int) -> Release:
    """Lock one of `count` shards of the work on `folder`; other processes may lock the others.

    Raises:
        LockedError: another process works on this shard, on all of the folder, or on a shard of
            another count.
    """
    folder_lock = _try_flock(folder / FOLDER_LOCK, shared=True)
    if folder_lock is None:
        raise LockedError(f"{folder}: in use by a wanctl that works on all of it; wait for it")
    shard_file = f".lock-{index}-of-{count}"
    for running in _running_shards(folder):
        if not running.endswith(f"/{count}"):
            folder_lock()
            raise LockedError(
                f"{folder}: --shard {index}/{count} while shard {running} is running; split "
                "the work into the same number everywhere, or wait"
            )
    shard_lock = _try_flock(folder / shard_file, shared=False)
    if shard_lock is None:
        folder_lock()
        raise LockedError(
            f"{folder}: shard {index}/{count} is being worked on (process "
            f"{_owner(folder / shard_file) or 'unknown'}); give every process a number of its own"
        )
    shard_lock.write_owner()
    return _LockPair(shard_lock, folder_lock)


@contextmanager
def lock_description(folder: Path) -> Iterator[None]:
    """Hold the lock of dataset.json; waits until no other process holds it."""
    lock = _wait_flock(folder / ".lock-description")
    try:
        yield
    finally:
        lock()


def try_lock(folder: Path, what: str) -> Release | None:
    """Lock `what`, which one of several processes does; None where another holds it."""
    return _try_flock(folder / f".lock-{what}", shared=False)


def running_process(folder: Path) -> str:
    """The id of a process that holds a lock of `folder`, or `unknown`; "" where none does.

    Makes no file and keeps no lock, so that looking at a folder disturbs nobody.
    """
    try:
        import fcntl  # noqa: PLC0415  not on Windows
    except ImportError:
        return ""
    for file in [folder / FOLDER_LOCK, *sorted(folder.glob(".lock-*-of-*"))]:
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _owner(file) or "unknown"
        finally:
            os.close(descriptor)
    return ""


def _running_shards(folder: Path) -> list[str]:
    """Shards that other processes hold, as "0/4"."""
    running = []
    for file in sorted(folder.glob(".lock-*-of-*")):
        lock = _try_flock(file, shared=False)
        if lock is None:
            running.append(file.name.removeprefix(".lock-").replace("-of-", "/"))
        else:
            lock()
    return running


class _Lock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def is_of(self, path: Path) -> bool:
        """Whether the locked file is the one that has this name now."""
        if self._descriptor < 0:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except FileNotFoundError:
            return False

    def write_owner(self) -> None:
        """Write this process's id into the file; the message of a refused process names it."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def __call__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _LockPair:
    def __init__(self, *locks: _Lock) -> None:
        self._locks = locks

    def __call__(self) -> None:
        for lock in self._locks:
            lock()


def _try_flock(path: Path, *, shared: bool) -> _Lock | None:
    try:
        import fcntl  # noqa: PLC0415  not on Windows, where runs are not guarded
    except ImportError:
        return _Lock(-1)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        return _without_lock(path, descriptor, error)
    return _Lock(descriptor)


def _wait_flock(path: Path) -> _Lock:
    try:
        import fcntl  # noqa: PLC0415  see _try
    except ImportError:
        return _Lock(-1)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        return _without_lock(path, descriptor, error)
    return _Lock(descriptor)


def _without_lock(path: Path, descriptor: int, error: OSError) -> _Lock:
    """No lock, with a warning, on a file system that has none."""
    os.close(descriptor)
    if error.errno not in _NO_LOCKS:
        raise error
    log.warning("%s: no locks on this file system; run one wanctl at a time there", path.parent)
    return _Lock(-1)


def _owner(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:32].strip()
