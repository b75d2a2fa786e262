"""Members of a tar, read without trusting what its headers say.

Python's tarfile reads extended headers of any stated size into memory, follows negative sizes
backwards for ever (CVE-2025-8194), expands sparse members, and unpacks a compressed archive to its
end to list it. Here an archive is plain, its members lie one behind the other within the file, and
only byte ranges of the file itself are read; nothing is ever unpacked to a path in the archive.
"""

import shutil
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from wanctl.errors import UserError
from wanctl.textfiles import lfs_pointer

HEADER_BYTES = 1 << 20
"""Largest extended header that is read: names and attributes of one member."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# what tarfile raises on headers that were made to break it
_ERRORS = (
    tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError, RecursionError, EOFError,
    struct.error,
)  # fmt: skip


class ArchiveError(UserError):
    """A tar that is damaged or no tar; the message has no path."""


class _BoundedTarInfo(tarfile.TarInfo):
    def _proc_member(self, tar: tarfile.TarFile) -> Self:
        extended = self.type in (
            tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
        )  # fmt: skip
        if self.size < 0 or (extended and self.size > HEADER_BYTES):
            raise tarfile.ReadError(f"a header states {self.size} bytes")
        return super()._proc_member(tar)  # pyright: ignore[reportAttributeAccessIssue]


def tar_members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The members of a plain tar in their order.

    Raises:
        ArchiveError: after the members before the damage: no tar, cut off, or compressed.
    """
    size = 0
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            _refuse_other_files(file)
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_BoundedTarInfo) as tar:
                end = 0
                for member in tar:
                    if member.offset < end or member.size < 0:
                        raise ArchiveError("not a readable tar: members overlap")
                    stored = member.isfile() and not member.issparse()
                    end = member.offset_data + (member.size if stored else 0)
                    if end > size:
                        raise ArchiveError(
                            f"the tar is cut off: {member.name!r} states {member.size} bytes, "
                            f"{max(0, size - member.offset_data)} are there"
                        )
                    yield member
                file.seek(-(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
                if not file.read(tarfile.BLOCKSIZE):
                    raise ArchiveError("the tar has no end mark, it may be cut off")
    except ArchiveError:
        raise
    except _ERRORS as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArchiveError(f"not a readable tar: {why}") from error


def read_member(path: Path, member: tarfile.TarInfo, max_bytes: int) -> bytes:
    """The bytes of a plain member.

    Raises:
        ArchiveError: it has more than `max_bytes`, is a link, a device or sparse, or is cut off.
    """
    if why := why_not_plain(member):
        raise ArchiveError(why)
    if member.size > max_bytes:
        raise ArchiveError(f"has {member.size} bytes, at most {max_bytes} are read")
    with path.open("rb") as file:
        file.seek(member.offset_data)
        data = file.read(member.size)
    if len(data) < member.size:
        raise ArchiveError("is cut off")
    return data


def copy_span(path: Path, span: tuple[int, int], target: Path) -> None:
    """Copy (offset, size) bytes of a file to a new file."""
    offset, left = span
    with path.open("rb") as file, target.open("wb") as copy:
        file.seek(offset)
        shutil.copyfileobj(_Limited(file, left), copy, 1 << 22)


def why_not_plain(member: tarfile.TarInfo) -> str:
    """Why a member has no bytes of its own in the tar; empty where it has."""
    if member.issym() or member.islnk():
        return "is a link; webdataset passes over links"
    if not member.isfile():
        return "is a folder, a device or a pipe"
    return "is stored as a sparse file; only plain files are read" if member.issparse() else ""


class _Limited:
    """The next bytes of a file, and then its end."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self._left = left

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(min(count, self._left) if count >= 0 else self._left)
        self._left -= len(data)
        return data


def _refuse_other_files(file: IO[bytes]) -> None:
    """Name what is often found in the place of a tar."""
    start = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if pointer := lfs_pointer(start):
        raise ArchiveError(f"is {pointer}")
    for mark, kind in _COMPRESSED.items():
        if start.startswith(mark):
            raise ArchiveError(f"is compressed ({kind}); unpack it, shards are plain tar files")
