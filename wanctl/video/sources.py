"""Sources of footage: files on a disk, or any URL that fsspec can read.

A source is identified by one string, an absolute path or a URL, which tables store as it is.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from wanctl.errors import UserError

# `https:/host` matches too: pathlib makes one slash of two. One letter before the colon is a drive.
_URL = re.compile(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+(?:::[a-zA-Z0-9+.-]+)*):/{1,2}(?P<rest>.+)$")
_LOCAL = ("file", "local")
_BLOCK_BYTES = 1 << 20
# a quarantined file stays in quarantine, so a server that fails briefly is retried
_PAUSES_S = (1.0, 5.0)


@dataclass(frozen=True)
class SourceFile:
    """One file of footage. `mtime_ns` is 0 where its file system gives none."""

    uri: str
    size: int
    mtime_ns: int


class SourceError(UserError):
    """A URL cannot be read: unknown scheme, missing package, or an error of the server."""


def url_of(source: str | os.PathLike[str]) -> str | None:
    """The URL of a source; None where it is a path on a disk."""
    match = _URL.match(os.fspath(source))
    if match is None or match["scheme"] in _LOCAL:
        return None
    return f"{match['scheme']}://{match['rest']}"


def disk_path(source: str | os.PathLike[str]) -> Path:
    """The path of a source that is on a disk; `file://` is removed."""
    match = _URL.match(os.fspath(source))
    if match is not None and match["scheme"] in _LOCAL:
        from urllib.parse import unquote  # noqa: PLC0415  a leaf that workers import

        return Path("/" + unquote(match["rest"]).lstrip("/"))
    return Path(source)


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path within it.

    Raises:
        SourceError: no file system for its scheme, or its package is missing.
    """
    import fsspec  # noqa: PLC0415  0.2 s that footage on disks does without

    try:
        return fsspec.core.url_to_fs(url)
    except ValueError as error:
        raise SourceError(f"{url}: {_line(error)}") from error
    except ImportError as error:
        raise SourceError(f"{url}: {_line(error)}; install it next to wanctl") from error


@contextmanager
def open_source(source: str | os.PathLike[str]) -> Iterator[Path | BinaryIO]:
    """Open a source for random access: its path, or a file object that fetches what is read.

    A file on a server without range requests is copied to a temporary file.

    Raises:
        SourceError: the URL cannot be read.
    """
    if (url := url_of(source)) is None:
        yield disk_path(source)
        return
    fs, path = file_system(url)
    with _as_source_error(url):
        file = fs.open(path, "rb", block_size=_BLOCK_BYTES)
    if file.seekable() and getattr(file, "size", None):
        with file:
            yield file
        return
    file.close()
    with local_copy(source) as copy:
        yield copy


@contextmanager
def local_copy(source: str | os.PathLike[str]) -> Iterator[Path]:
    """A local path with a source's bytes; a fetched copy is deleted afterwards.

    Raises:
        SourceError: the URL cannot be read.
    """
    if (url := url_of(source)) is None:
        yield disk_path(source)
        return
    fs, path = file_system(url)
    with tempfile.TemporaryDirectory(prefix="wanctl-source-") as folder:
        copy = Path(folder) / ("source" + Path(path).suffix)
        with _as_source_error(url):
            _fetch(fs, path, copy)
        yield copy


def _fetch(fs: Any, path: str, copy: Path) -> None:
    for pause_s in (*_PAUSES_S, None):
        try:
            with fs.open(path, "rb") as file, copy.open("wb") as target:
                shutil.copyfileobj(file, target, 1 << 22)
            return
        except FileNotFoundError:
            raise
        except Exception:  # every file system has exceptions of its own
            if pause_s is None:
                raise
            time.sleep(pause_s)


@contextmanager
def _as_source_error(url: str) -> Iterator[None]:
    """Raise errors of a file system as `SourceError` with one line of text."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # every file system has exceptions of its own
        raise SourceError(f"{url}: cannot be read: {_line(error)}") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
