"""Lists the video files of a folder or URL, and scans one source."""

import os
import stat
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any

from wanctl.credentials import remember
from wanctl.errors import UserError
from wanctl.path_names import source_problem
from wanctl.redact import public_uri
from wanctl.video.content.endings import VIDEO_SUFFIXES, by_ending, ending, file_name
from wanctl.video.content.remote import RemoteFailure, find_remote
from wanctl.video.content.sniffing import HEAD_BYTES, by_first_bytes, look_into
from wanctl.video.probe import Scan, ScanBounds, scan
from wanctl.video.sources import (
    SourceError,
    SourceFile,
    advice,
    check_present,
    disk_path,
    entry_uri,
    error_line,
    file_system,
    listing_system,
    local_copy,
    read_head,
    url_of,
)
from wanctl.video.stream import VideoError
from wanctl.video.workers.worker_pool import DecodePool, Failure

__all__ = ["VIDEO_SUFFIXES", "FootageListing", "list_footage", "scan_source"]

# Files whose ending says nothing and whose first bytes settle nothing are shown to FFmpeg in
# worker processes, so many at a time.
_WORKERS, _LIMIT_S, _MEMORY_BYTES, _BATCH = 2, 60.0, 4 << 30, 64
_SHOWN_ENDINGS = 12


@dataclass
class FootageListing:
    """Entries of a folder.

    Attributes:
        videos: files that are footage by their ending or their content, sorted by name.
        passed: ending ("" where there is none) -> number of files that are no footage.
        hidden: number of files and folders that are skipped because their name begins with a dot.
        problems: (path, kind, reason) of entries that are skipped: broken or circular links,
            unreadable folders, pipes, names that are not UTF-8.
    """

    videos: list[SourceFile] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    unknown: list[SourceFile] = field(default_factory=list, repr=False)

    @property
    def others(self) -> int:
        """Number of files that are no footage."""
        return self.passed.total()

    def passed_over(self) -> str:
        """What is no footage, by ending: `12 .txt, 3 .jpg`; the most frequent endings first."""
        counts = sorted(self.passed.items(), key=lambda item: (-item[1], item[0]))
        names = [f"{count:,} {name or 'without an ending'}" for name, count in counts]
        more = len(names) - _SHOWN_ENDINGS
        return ", ".join(names[:_SHOWN_ENDINGS]) + (f", and {more} more endings" * (more > 0))


def list_footage(folder: str | Path) -> FootageListing:
    """List everything below a folder on a disk or behind a URL. Hidden files are skipped.

    Whatever FFmpeg reads as one file is footage, whatever it is called. Endings of videos are taken
    at once and endings of texts, images, archives and so on passed over; all other files are looked
    into.

    Raises:
        UserError: there is no such folder, or it holds no footage.
    """
    if problem := source_problem(str(folder)):
        raise UserError(f"the folder of footage: {problem}")
    url = url_of(folder)
    listing = _list_url(url) if url else _list_disk(disk_path(folder))
    _look_into(listing)
    listing.videos.sort(key=lambda file: file.uri)
    listing.problems.sort()
    if not listing.videos:
        rest = "".join(f"; {path}: {why}" for path, _, why in listing.problems[:1])
        passed = f" ({listing.passed_over()})" if listing.passed else ""
        raise UserError(
            f"{public_uri(str(folder))}: no video among its {listing.others} files{passed}; "
            f"footage is any file in which FFmpeg finds a video{rest}"
        )
    return listing


def scan_source(
    source: str, max_fps: float, bounds: ScanBounds | None = None
) -> tuple[Scan, float]:
    """Scan one source; runs in a worker. `bounds`: see `probe.scan`.

    Scanning reads every byte twice, so a remote file is fetched first.

    Returns:
        The scan, and its CPU seconds.

    Raises:
        VideoError: not a video, or a damaged one.
        SourceError: the source cannot be read.
    """
    started = time.process_time()
    check_present(source)
    with local_copy(source) as path:
        try:
            scanned = scan(path, max_fps, bounds)
        except VideoError as error:
            raise VideoError(str(error).replace(str(path), source)) from None
    info = replace(scanned.info, path=Path(source))
    return replace(scanned, info=info), time.process_time() - started


def _list_disk(root: Path) -> FootageListing:
    root = root.absolute()
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root}: {what}; name a folder with footage")
    listing = FootageListing()
    walk = _FolderWalk(listing)
    walk.enter(root)
    # links come last, so that a folder that is also below the root is listed under its own path
    while walk.links:
        walk.follow(walk.links.popleft())
    return listing


class _FolderWalk:
    """Walks a tree of folders and visits each folder once, however it is linked."""

    def __init__(self, listing: FootageListing) -> None:
        self.links: deque[Path] = deque()
        self._listing = listing
        self._seen: set[tuple[int, int]] = set()

    def enter(self, folder: Path) -> None:
        """List a folder and everything below it."""
        try:
            self._seen.add(_identity(folder.stat()))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            _problem(self._listing, folder, "unreadable", f"cannot be listed: {error.strerror}")
            return
        for entry in entries:
            if entry.name.startswith("."):
                self._listing.hidden += 1
            else:
                self._take(Path(entry.path))

    def follow(self, link: Path) -> None:
        """List the target of a link, unless it has been listed."""
        if _identity(link.stat()) in self._seen:
            _problem(self._listing, link, "link", "its target is a folder that is listed already")
        else:
            self.enter(link)

    def _take(self, path: Path) -> None:
        kind = by_ending(path.name)
        try:
            info = path.stat()
        except OSError as error:
            if kind == "video" or path.is_symlink():
                _problem(
                    self._listing, path, "unreadable", f"its target is missing: {error.strerror}"
                )
            return
        if stat.S_ISDIR(info.st_mode):
            if path.is_symlink():
                self.links.append(path)
            else:
                self.enter(path)
        elif kind == "other" or not (kind == "video" or stat.S_ISREG(info.st_mode)):
            self._listing.passed[ending(path.name)] += 1
        elif not stat.S_ISREG(info.st_mode):
            _problem(self._listing, path, "no file", "is a pipe, a socket or a device")
        elif kind == "video" or self._is_footage(path, SourceFile(str(path), *_figures(info))):
            _add(self._listing, SourceFile(str(path), *_figures(info)))

    def _is_footage(self, path: Path, file: SourceFile) -> bool:
        """Whether its first bytes say so; what they leave open is put off."""
        try:
            known = by_first_bytes(path.name, read_head(path, HEAD_BYTES))
        except OSError as error:
            _problem(self._listing, path, "unreadable", f"cannot be read: {error.strerror}")
            return False
        if known is None:
            self._listing.unknown.append(file)
        elif not known:
            self._listing.passed[ending(path.name)] += 1
        return bool(known)


def _figures(info: os.stat_result) -> tuple[int, int]:
    return info.st_size, info.st_mtime_ns


def _add(listing: FootageListing, file: SourceFile) -> None:
    if _is_text(file.uri):
        listing.videos.append(file)
    else:
        _problem(listing, file.uri, "name", "its name is not UTF-8; rename it")


def _look_into(listing: FootageListing) -> None:
    """Sort out the unknown files by their content."""
    if not listing.unknown:
        return
    files = listing.unknown
    batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    with DecodePool(_WORKERS, _LIMIT_S, _MEMORY_BYTES) as pool:
        killed = []
        for number, result in _looks(pool, batches):
            if isinstance(result, Failure):
                killed += [[file] for file in batches[number]]
            else:
                _sort_out(listing, batches[number], result)
        for number, result in _looks(pool, killed):
            if isinstance(result, Failure):
                why = f"FFmpeg cannot look into it: {result.message}"
                _problem(listing, killed[number][0].uri, result.kind, why)
            else:
                _sort_out(listing, killed[number], result)
    listing.unknown = []


def _looks(
    pool: DecodePool, batches: Sequence[Sequence[SourceFile]]
) -> Iterator[tuple[int, list[bool | str] | Failure]]:
    tasks = (([file.uri for file in batch],) for batch in batches)
    return pool.map(look_into, tasks, retry=False)


def _sort_out(
    listing: FootageListing, files: Sequence[SourceFile], looks: Sequence[bool | str]
) -> None:
    for file, look in zip(files, looks, strict=True):
        if isinstance(look, str):
            _problem(listing, file.uri, "unreadable", look.removeprefix(f"{file.uri}: "))
        elif look:
            _add(listing, file)
        else:
            listing.passed[ending(file_name(file.uri))] += 1


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _problem(listing: FootageListing, path: str | Path, kind: str, why: str) -> None:
    name = str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    listing.problems.append((name, kind, why))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list_url(url: str) -> FootageListing:
    url = remember(url)
    fs, root = listing_system(url)
    failures: list[RemoteFailure] = []
    try:
        entries: Mapping[str, Mapping[str, Any]] = find_remote(fs, root, failures)
    except Exception as error:  # every file system has exceptions of its own
        raise _not_listed(url, error) from error
    if failures and not entries:
        raise _not_listed(url, failures[0][1]) from failures[0][1]
    listing = FootageListing()
    for folder, error in failures:
        why = f"cannot be listed: {error_line(error)}"
        listing.problems.append((entry_uri(fs, url, folder), "unreachable", why))
    seen: set[str] = set()
    for path, info in _visible(entries, root):
        kind = by_ending(file_name(path))
        if kind == "other":
            listing.passed[ending(file_name(path))] += 1
            continue
        uri = entry_uri(fs, url, path)
        try:
            file = _described(fs, uri, path, info)
        except Exception as error:  # every file system has exceptions of its own
            listing.problems.append((uri, "unreadable", f"cannot be read: {error_line(error)}"))
            continue
        if file.uri in seen:  # names that differ in a signature alone
            listing.problems.append((file.uri, "duplicate", "listed twice under this name"))
            continue
        seen.add(file.uri)
        (listing.videos if kind == "video" else listing.unknown).append(file)
    return listing


def _not_listed(url: str, error: BaseException) -> SourceError:
    why = error_line(error)
    return SourceError(f"{url}: cannot be listed: {why}{advice(why)}")


def _visible(
    entries: Mapping[str, Mapping[str, Any]], root: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, info in entries.items():
        if "&amp;" in path and path.startswith("http"):  # fsspec takes links as they are in HTML
            path = unescape(path)
        inside = path.removeprefix(root).strip("/")
        if not any(name.startswith(".") for name in inside.split("/")):
            yield path, info


def _described(fs: Any, uri: str, path: str, info: Mapping[str, Any]) -> SourceFile:
    if info.get("size") is None:  # listings of web servers have names only
        signed = public_uri(path) != path  # a link with a signature of its own
        info = (file_system(path)[0] if signed else fs).info(path)
    changed: Any = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or 0
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else changed
    mtime_ns = int(seconds * 1e9) if isinstance(seconds, int | float) else 0
    return SourceFile(uri, int(info.get("size") or 0), mtime_ns)
