"""Files that are complete or absent: written to a temporary, flushed to disk, then renamed."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from wanctl.errors import UserError

# a temporary of another machine on shared storage counts as abandoned by its age alone
_STALE_S = 24 * 3600
_TEMP = re.compile(
    r"^\.(?P<name>.+)\.tmp-(?:(?P<host>[0-9a-f]{6})-)?(?P<pid>\d+)-[0-9a-f]{8}(?P<suffix>\.\w+)?$"
)
_WHY = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder with --out",
    errno.EACCES: "no permission to write there; choose another folder with --out",
    errno.EPERM: "no permission to write there; choose another folder with --out",
    errno.ENOTDIR: "a part of the path is a file; choose another folder with --out",
    errno.EEXIST: "a part of the path is a file; choose another folder with --out",
}


class WriteError(UserError):
    """A file could not be written; the message says which and why."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that is renamed to it when the block ends without an error.

    The file and its folder are flushed to disk before and after the rename, so that a power cut
    leaves the old file or the new one. The temporary keeps `path`'s suffix, because muxers and
    image writers choose their format by it.

    Raises:
        WriteError: the disk is full, read-only or forbidden; the temporary is removed. Or `path` is
            a pipe or a device, such as /dev/stdout, which a rename would destroy.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise WriteError(f"{path}: cannot write: is a pipe or a device; name a file")
    temp = _temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        _flush(temp)
        temp.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        temp.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name `path` in errors of the block; a full disk is reported without a name by the system.

    Raises:
        WriteError: an OSError of the block.
    """
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        raise write_error(Path(named), error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that is there is left as it is.

    Raises:
        WriteError: it cannot be made there.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by a file that holds `data`."""
    with replacing(path) as temp:
        temp.write_bytes(data)


def write_error(path: Path, error: OSError) -> WriteError:
    """A WriteError whose one line names the file and the reason."""
    why = _WHY.get(error.errno or 0, error.strerror or str(error))
    return WriteError(f"{path}: cannot write: {why}")


def remove_leftovers(folder: Path) -> int:
    """Delete temporaries of processes that have ended; returns their number."""
    removed = 0
    for path in folder.rglob(".*.tmp-*"):
        match = _TEMP.match(path.name)
        if match and _abandoned(path, match["host"] or _host(), int(match["pid"])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed += 1
    return removed


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, deleted when the block ends."""
    folder = _temporary_path(path)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary_path(path: Path) -> Path:
    mark = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.tmp-{mark}{path.suffix}")


def _abandoned(path: Path, host: str, pid: int) -> bool:
    if host == _host():
        return not _alive(pid)
    try:
        return time.time() - path.stat().st_mtime > _STALE_S
    except FileNotFoundError:
        return False


@cache
def _host() -> str:
    """Six hex digits naming this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
