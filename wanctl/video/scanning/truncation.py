"""Detects truncated files by the structure of their container.

A decoder alone cannot: the frames before the cut are intact. Declared durations and frame counts
are no structure: editors leave old ones behind, and they count frames that are not stored. A file
is truncated where a part that holds frames says that it is longer than the file.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# Boxes of ISO/IEC 14496-12 that hold frames or say where they are. Others may be of the maker's
# own making, whatever their first bytes look like.
_FRAME_BOXES = (b"moov", b"moof", b"mdat")
_EBML_HEADER = b"\x1a\x45\xdf\xa3"
# Segment, Cluster, SimpleBlock, BlockGroup
_FRAME_ELEMENTS = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa3", b"\xa0")
_TS_PACKETS = (188, 192, 204)
_TS_SYNC = 0x47
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


def partial_packet(path: Path, container: str) -> bool:
    """Whether a transport stream ends in the middle of a packet: its last frame is damaged."""
    if container != "mpegts":
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4 * max(_TS_PACKETS))
        for length in _TS_PACKETS:
            # 192-byte packets begin with four bytes of time
            begin = next((i for i in range(length) if _in_sync(head[i:], length)), None)
            if begin is None:
                continue
            lead = begin - 4 if length == 192 and begin >= 4 else begin
            rest = (size - lead) % length
            if not rest:
                return False
            file.seek(size - rest + (4 if length == 192 else 0))
            return file.read(1) == bytes([_TS_SYNC])  # else it is something else behind the stream
    return False


def _in_sync(data: bytes, length: int) -> bool:
    return len(data) > 2 * length and all(data[i * length] == _TS_SYNC for i in range(3))


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
    offset = end = 0
    while offset + 12 <= size:
        file.seek(offset)
        head = file.read(12)
        name_length = 9 - head[0].bit_length()
        if not head[0] or name_length > 4:
            break
        name, (length, start) = head[:name_length], _vint(head, name_length)
        if length < 0:
            offset += start
            continue
        if offset == 0 and name != _EBML_HEADER:
            break
        offset += start + length
        if name in _FRAME_ELEMENTS:
            end = offset
    return end


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


_ENDS: dict[str, Callable[[BinaryIO, int], int]] = {
    "mov": _boxes_end, "matroska": _segment_end, "avi": _riff_end, "asf": _asf_end, "flv": _flv_end,
}  # fmt: skip
