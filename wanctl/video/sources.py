"""Sources of footage: files on a disk, or any URL that fsspec can read.

A source is identified by one string, an absolute path or a URL, which tables store as it is.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

from wanctl.credentials import VARIABLE, remember, with_credentials
from wanctl.errors import UserError
from wanctl.redact import basic_header, public_uri, redact, split_query, split_userinfo

# `https:/host` matches too: pathlib makes one slash of two. One letter before the colon is a drive.
_URL = re.compile(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+(?:::[a-zA-Z0-9+.-]+)*):/{1,2}(?P<rest>.+)$")
_LOCAL = ("file", "local")
# file systems that leave the host out of the names of their entries
_HOST_IN_URL = ("ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs")
_SAMPLE_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
# a quarantined file stays in quarantine, so a server that fails briefly is retried
_PAUSES_S = (1.0, 5.0)


@dataclass(frozen=True)
class SourceFile:
    """One file of footage. Figures that its file system does not give are 0 or "".

    Attributes:
        uri: absolute path, or URL without credentials.
        size: bytes.
        mtime_ns: time of the last change of its content, which programs may set.
        ctime_ns: time of the last change of its content or its properties, which they may not.
        sample: hash of a few places of the file, see `sampled`.
    """

    uri: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    sample: str = ""


class SourceError(UserError):
    """A source cannot be read: unknown scheme, missing package, error of the server or the disk."""

    failure_kind = "unreachable"


def sampled(file: SourceFile, known: Mapping[str, Any] | None) -> SourceFile:
    """A file on a disk with its ctime and a hash of 64 KiB at its start, its middle and its end.

    The hash tells a file that was replaced by one of the same size and mtime. It is read where the
    ctime differs from the record only, which a copied folder and a changed permission make too.

    Args:
        file: of a listing.
        known: its record of an earlier run; None: a new file.
    """
    if url_of(file.uri) is not None:
        return file
    path = disk_path(file.uri)
    try:
        ctime_ns = path.stat().st_ctime_ns
        if known is not None and known.get("ctime_ns") == ctime_ns and known.get("sample"):
            return replace(file, ctime_ns=ctime_ns, sample=known["sample"])
        digest = hashlib.sha256()
        with path.open("rb") as content:
            for place in (0, file.size // 2, file.size - _SAMPLE_BYTES):
                content.seek(max(0, place))
                digest.update(content.read(_SAMPLE_BYTES))
    except OSError:  # scanning it tells why
        return file
    return replace(file, ctime_ns=ctime_ns, sample=digest.hexdigest()[:16])


def url_of(source: str | os.PathLike[str]) -> str | None:
    """The URL of a source; None where it is a path on a disk."""
    match = _match_url(source)
    if match is None or match["scheme"] in _LOCAL:
        return None
    return f"{match['scheme']}://{match['rest']}"


def disk_path(source: str | os.PathLike[str]) -> Path:
    """The path of a source that is on a disk; `file://` is removed."""
    match = _match_url(source)
    if match is not None and match["scheme"] in _LOCAL:
        return Path("/" + unquote(match["rest"]).lstrip("/"))
    return Path(source)


def _match_url(source: str | os.PathLike[str]) -> re.Match[str] | None:
    name = os.fspath(source)
    match = _URL.match(name)
    # a folder may be called `http:`
    if match and "://" not in name and os.path.lexists(name):
        return None
    return match


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path within it.

    A URL without credentials gets those that this run knows for it.

    Raises:
        SourceError: no file system for its scheme, its package is missing, or the server does not
            answer.
    """
    return _connected(with_credentials(url), {})


def _connected(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415  0.2 s that footage on disks does without

    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        message = f"{public_uri(url)}: {error_line(error)}; install it next to wanctl"
        raise SourceError(message) from error
    except Exception as error:  # some connect at once, and each has exceptions of its own
        raise SourceError(f"{public_uri(url)}: {error_line(error)}") from error


def listing_system(url: str) -> tuple[Any, str]:
    """The file system that lists a URL, and the URL within it, which is without credentials.

    Entries of web servers are named after the URL that lists them. So user, password and query are
    options of the requests here, not parts of the URL.

    Raises:
        SourceError: as `file_system`.
    """
    known = with_credentials(url)
    try:
        parts = urlsplit(known)
    except ValueError as error:
        raise SourceError(f"{public_uri(url)}: {error_line(error)}") from error
    if parts.scheme not in ("http", "https") or known == (public := public_uri(known)):
        return file_system(url)
    options: dict[str, Any] = {}
    if parts.username or parts.password:
        login = basic_header(split_userinfo(parts.netloc)[0])
        options["headers"] = {"Authorization": f"Basic {login}"}
    secret = split_query(known)[1]
    if secret:
        options["params"] = dict(parse_qsl("&".join(secret), keep_blank_values=True))
    return _connected(public, options)


def check_present(source: str | os.PathLike[str]) -> None:
    """Check that a source on a disk is there; URLs are checked when they are opened.

    Raises:
        SourceError: it is gone, or its disk is.
    """
    if url_of(source) is None:
        try:
            with disk_path(source).open("rb"):
                pass
        except OSError as error:
            raise SourceError(f"{source}: cannot be read: {error.strerror}") from error


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


def read_head(source: str | os.PathLike[str], size: int) -> bytes:
    """The first bytes of a source, of which a server sends little more.

    Raises:
        OSError: a file on a disk cannot be read.
        SourceError: the URL cannot be read.
    """
    if (url := url_of(source)) is None:
        with disk_path(source).open("rb", buffering=0) as file:
            return file.read(size)
    fs, path = file_system(url)
    # in one piece: a server without range requests sends only the beginning of a file
    with _as_source_error(url), fs.open(path, "rb", block_size=size) as file:
        return file.read(size)


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
        copy = Path(folder) / ("source" + Path(path.partition("?")[0]).suffix)
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
        why = error_line(error)
        raise SourceError(f"{public_uri(url)}: cannot be read: {why}{advice(why)}") from error


def entry_uri(fs: Any, url: str, path: str) -> str:
    """The URI of an entry that `fs` listed below `url`, without credentials."""
    scheme, _, rest = url.partition("://")
    if scheme in _HOST_IN_URL and "://" not in path:
        host = split_userinfo(rest)[1].partition("/")[0]
        return f"{scheme}://{host}/{path.lstrip('/')}"
    return remember(fs.unstrip_protocol(path))


def advice(why: str) -> str:
    """What to do about an error of a server that asks for credentials; "" for other errors."""
    if not re.search(r"\b40[13]\b|[Uu]nauthori[sz]ed|[Ff]orbidden", why):
        return ""
    return f"; give the URL with its user and password, or signed, in {VARIABLE}"


def error_line(error: BaseException) -> str:
    """An error of a file system as one line, without credentials.

    fsspec reports every refusal of a web server as a file that is not found; the cause says why.
    """
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and str(cause):
        error = cause
    text = redact(" ".join(str(error).split()))
    return text or type(error).__name__
