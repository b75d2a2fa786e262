"""Detects truncated files by the structure of their container.

A decoder alone cannot: the frames before the cut are intact. Declared durations and frame counts
are no structure: editors leave old ones behind, and they count frames that are not stored. A file
is truncated where a part that holds frames says that it is longer than the file.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

# Boxes of ISO/IEC 14496-12 that hold frames or say where they are. Others may be of the maker's
# own making, whatever their first bytes look like.
_FRAME_BOXES = (b"moov", b"moof", b"mdat")
_EBML_HEADER = b"\x1a\x45\xdf\xa3"
# Segment, Cluster, SimpleBlock, BlockGroup
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_FRAME_ELEMENTS = (_SEGMENT, _CLUSTER, b"\xa3", b"\xa0")
# FFmpeg says "... at pos 5488 (0x1570) invalid as ...", or that an element "at 0x1570" is wrong
_PLACE = re.compile(r"\bat (?:pos )?(0x[0-9a-f]+|[1-9][0-9]*)")
# Small blocks of sound and subtitles may follow the last frame.
_UNREAD_BYTES, _UNREAD_SHARE = 1 << 10, 0.02
# SMPTE 377: the header's partition pack, and elements of frames (SMPTE 379, 381)
_MXF_HEADER = bytes.fromhex("060e2b34020501010d01020101")
_MXF_FRAMES = bytes.fromhex("060e2b34010201010d010301")
_MXF_RUN_IN = 1 << 16
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def truncation_reason(path: Path, container: str) -> str:
    """Why a file is truncated; "" where its structure does not say so.

    Args:
        path: the file.
        container: FFmpeg's names of the demuxer, separated by commas.
    """
    size = path.stat().st_size
    ends = [_ENDS[name] for name in container.split(",") if name in _ENDS]
    if not ends:
        return ""
    with path.open("rb") as file:
        try:
            end = ends[0](file, size)
        except (struct.error, IndexError):  # too short or too odd to tell
            return ""
    return f"{size} of {end} bytes are there" if end > size else ""


def second_file(path: Path, container: str, end_byte: int) -> int:
    """Where another mp4 begins behind the frames of one; 0 where none does.

    Args:
        path: the file.
        container: FFmpeg's names of the demuxer, separated by commas.
        end_byte: where the frames that were read end.
    """
    if "mov" not in container.split(","):
        return 0
    offset = begin = 0
    seen: list[bytes] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            length, kind = struct.unpack(">I4s", header[:8])
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if kind == b"ftyp" and offset >= end_byte and b"moov" in seen:
                begin, seen = offset, []
            if length < 8:
                break
            seen.append(kind)
            offset += length
    return begin if begin and {b"moov", b"mdat"} <= set(seen) else 0


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an mp4 or mov with frames declares its end, in bytes."""
    offset = end = 0
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        if length < 8:  # 0 means "to the end"; the rest is padding
            break
        offset += length
        if kind in _FRAME_BOXES:
            end = offset
        elif offset > size:
            break
    return end


def _segment_end(file: BinaryIO, size: int) -> int:
    """Where the last segment, cluster or block of a Matroska or WebM file declares its end.

    A live recording does not say how long its segment is; its clusters may.
    """
    end = 0
    for index, (name, length, stop) in enumerate(_elements(file, size)):
        if length < 0:
            continue
        if index == 0 and name != _EBML_HEADER:
            break
        if name in _FRAME_ELEMENTS:
            end = stop
    return end


def _elements(file: BinaryIO, size: int, enters: bytes = b"") -> Iterator[tuple[bytes, int, int]]:
    """Elements of a Matroska or WebM file in order, up to what is none.

    Args:
        file: the file.
        size: its length in bytes.
        enters: name of the elements whose contents are listed; those of unknown length always are.

    Yields:
        Name, declared length (negative: unknown), and the byte where the walk goes on.
    """
    offset = 0
    while offset + 12 <= size:
        file.seek(offset)
        head = file.read(12)
        name_length = 9 - head[0].bit_length()
        if not head[0] or name_length > 4:
            return
        name, (length, start) = head[:name_length], _vint(head, name_length)
        offset += start if name == enters or length < 0 else start + length
        yield name, length, offset


def unread_clusters(path: Path, container: str, end_byte: int, complaints: Sequence[str]) -> str:
    """Why much of the frames of a Matroska or WebM file was not read; "" where all of it was.

    Behind a damaged place inside of a cluster, FFmpeg looks for the next cluster, if there is one.

    Args:
        path: the file.
        container: FFmpeg's names of the demuxer, separated by commas.
        end_byte: where the frames that were read end.
        complaints: what FFmpeg reported behind the last packet.
    """
    if "matroska" not in container.split(",") or not complaints:
        return ""
    size = path.stat().st_size
    end = 0
    with path.open("rb") as file:
        for name, _, stop in _elements(file, size, enters=_SEGMENT):
            if name == _CLUSTER:
                end = stop
    end = min(end, size)
    if end - end_byte <= max(_UNREAD_BYTES, _UNREAD_SHARE * size):
        return ""
    # sound may follow the last frame, and anything the last cluster
    places = ((_PLACE.search(line), line) for line in complaints)
    return next((line for place, line in places if place and int(place[1], 0) < end), "")


def _vint(data: bytes, offset: int) -> tuple[int, int]:
    """An EBML size and the offset behind it; -1 for "unknown", as live recordings have it."""
    length = 9 - data[offset].bit_length()
    value = int.from_bytes(data[offset : offset + length], "big") & ((1 << 7 * length) - 1)
    return (-1 if value == (1 << 7 * length) - 1 else value), offset + length


def _riff_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk of an AVI declares its end; files over 1 GB have several."""
    offset = end = 0
    while offset + 12 <= size:
        file.seek(offset)
        name, length, kind = struct.unpack("<4sI4s", file.read(12))
        # recorders that lost power leave 0 or the largest number
        if name != b"RIFF" or kind not in (b"AVI ", b"AVIX") or length in (0, 0xFFFFFFFF):
            break
        offset += 8 + length + length % 2
        end = offset - length % 2
    return end


def _asf_end(file: BinaryIO, size: int) -> int:
    """Where the data object of a WMV or ASF file declares its end."""
    offset = 0
    while offset + 24 <= size:
        file.seek(offset)
        name, length = struct.unpack("<16sQ", file.read(24))
        if length < 24:
            return 0
        offset += length
        if name == _ASF_DATA:
            return offset
    return 0


def _flv_end(file: BinaryIO, size: int) -> int:
    """Where the last tag of an FLV file declares its end."""
    file.seek(5)
    offset = struct.unpack(">I", file.read(4))[0] + 4
    while offset + 11 <= size:
        file.seek(offset)
        head = file.read(4)
        if head[0] & 0x1F not in (8, 9, 18):  # sound, video, metadata
            return 0
        offset += 11 + int.from_bytes(head[1:], "big") + 4
    # the last four bytes repeat the tag's length; without them, no frame is missing
    return offset - 4 if offset - 4 > size else 0


def _klv_end(file: BinaryIO, size: int) -> int:
    """Where the last element with frames, or the footer, of an MXF file declares its end."""
    start = offset = file.read(_MXF_RUN_IN + len(_MXF_HEADER)).find(_MXF_HEADER)
    end = 0
    while offset >= 0 and offset + 17 <= size:
        file.seek(offset)
        head = file.read(25)
        if head[:4] != _MXF_HEADER[:4]:
            break
        # a length is one byte, or 0x80 + the number of the bytes that follow
        more = head[16] & 0x7F if head[16] & 0x80 else 0
        if more > 8:
            break
        length = int.from_bytes(head[17 : 17 + more], "big") if more else head[16]
        if offset == start:
            file.seek(offset + 17 + more + 24)
            end = start + struct.unpack(">Q", file.read(8))[0]  # 0 while it is being written
        offset += 17 + more + length
        if head.startswith(_MXF_FRAMES):
            end = max(end, offset)
    return end


def _pages_end(file: BinaryIO, size: int) -> int:
    """Where the last page of an Ogg file declares its end."""
    offset = end = 0
    while offset + 27 <= size:
        file.seek(offset)
        head = file.read(27 + 255)
        if head[:4] != b"OggS":
            break
        segments = head[26]
        offset = end = offset + 27 + segments + sum(head[27 : 27 + segments])
    return end


_ENDS: dict[str, Callable[[BinaryIO, int], int]] = {
    "mov": _boxes_end, "matroska": _segment_end, "avi": _riff_end, "asf": _asf_end, "flv": _flv_end,
    "mxf": _klv_end, "ogg": _pages_end,
}  # fmt: skip
