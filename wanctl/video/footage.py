"""Lists the video files of a folder or URL, and scans one source."""

import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from wanctl.credentials import remember
from wanctl.errors import UserError
from wanctl.redact import public_uri, redact
from wanctl.video.probe import Scan, scan
from wanctl.video.sources import (
    SourceError,
    SourceFile,
    advice,
    disk_path,
    entry_uri,
    listing_system,
    local_copy,
    url_of,
)
from wanctl.video.stream import VideoError

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv",
        "ts", "webm", "wmv", "y4m",
    )
)  # fmt: skip


@dataclass
class FootageListing:
    """Entries of a folder.

    Attributes:
        videos: files with a video suffix, sorted by name.
        others: number of files without one.
        problems: (path, kind, reason) of entries that are skipped: broken or circular links,
            unreadable folders, pipes, names that are not UTF-8.
    """

    videos: list[SourceFile] = field(default_factory=list)
    others: int = 0
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def list_footage(folder: str | Path) -> FootageListing:
    """List everything below a folder on a disk or behind a URL. Hidden files are skipped.

    Raises:
        UserError: there is no such folder, or it holds no footage.
    """
    url = url_of(folder)
    listing = _list_url(url) if url else _list_disk(disk_path(folder))
    listing.videos.sort(key=lambda file: file.uri)
    listing.problems.sort()
    if not listing.videos:
        rest = "".join(f"; {path}: {why}" for path, _, why in listing.problems[:1])
        raise UserError(
            f"{public_uri(str(folder))}: no video among its {listing.others} files; footage "
            f"ends in {', '.join(sorted(VIDEO_SUFFIXES))}{rest}"
        )
    return listing


def scan_source(source: str, max_fps: float) -> tuple[Scan, float]:
    """Scan one source; runs in a worker.

    Scanning reads every byte twice, so a remote file is fetched first.

    Returns:
        The scan, and its CPU seconds.

    Raises:
        VideoError: not a video, or a damaged one.
        SourceError: the URL cannot be read.
    """
    started = time.process_time()
    with local_copy(source) as path:
        try:
            scanned = scan(path, max_fps)
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
            if not entry.name.startswith("."):
                self._take(Path(entry.path))

    def follow(self, link: Path) -> None:
        """List the target of a link, unless it has been listed."""
        if _identity(link.stat()) in self._seen:
            _problem(self._listing, link, "link", "its target is a folder that is listed already")
        else:
            self.enter(link)

    def _take(self, path: Path) -> None:
        footage = path.suffix.lower() in VIDEO_SUFFIXES
        try:
            info = path.stat()
        except OSError as error:
            if footage or path.is_symlink():
                _problem(
                    self._listing, path, "unreadable", f"its target is missing: {error.strerror}"
                )
            return
        if stat.S_ISDIR(info.st_mode):
            if path.is_symlink():
                self.links.append(path)
            else:
                self.enter(path)
        elif not footage:
            self._listing.others += 1
        elif not stat.S_ISREG(info.st_mode):
            _problem(self._listing, path, "no file", "is a pipe, a socket or a device")
        elif not _is_text(str(path)):
            _problem(self._listing, path, "name", "its name is not UTF-8; rename it")
        else:
            self._listing.videos.append(SourceFile(str(path), info.st_size, info.st_mtime_ns))


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _problem(listing: FootageListing, path: Path, kind: str, why: str) -> None:
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
    try:
        entries: Mapping[str, Mapping[str, Any]] = fs.find(root, detail=True)
    except Exception as error:  # every file system has exceptions of its own
        why = redact(" ".join(str(error).split())) or type(error).__name__
        raise SourceError(f"{url}: cannot be listed: {why}{advice(why)}") from error
    listing = FootageListing()
    seen: set[str] = set()
    for path, info in _visible(entries, root):
        if PurePosixPath(path).suffix.lower() not in VIDEO_SUFFIXES:
            listing.others += 1
            continue
        file = _described(fs, url, path, info)
        if file.uri in seen:  # names that differ in a signature alone
            listing.problems.append((file.uri, "duplicate", "listed twice under this name"))
            continue
        seen.add(file.uri)
        listing.videos.append(file)
    return listing


def _visible(
    entries: Mapping[str, Mapping[str, Any]], root: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, info in entries.items():
        inside = path.removeprefix(root).strip("/")
        if not any(name.startswith(".") for name in inside.split("/")):
            yield path, info


def _described(fs: Any, url: str, path: str, info: Mapping[str, Any]) -> SourceFile:
    if info.get("size") is None:  # listings of web servers have names only
        info = fs.info(path)
    changed: Any = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or 0
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else changed
    mtime_ns = int(seconds * 1e9) if isinstance(seconds, int | float) else 0
    return SourceFile(entry_uri(fs, url, path), int(info.get("size") or 0), mtime_ns)
