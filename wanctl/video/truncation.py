"""Tells a file that was cut off from one that is whole, by what its container promises.

A decoder alone cannot: the pictures before the cut are healthy.
"""

import re
import struct
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

# Streams of one file rarely end together; a quarter of a second, or one picture at 1 fps or so,
# is no cut.
_SLACK_S = 0.25
# Matroska's statistics tag DURATION: HH:MM:SS.nnnnnnnnn
_CLOCK = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)


def truncation_reason(
    path: Path, container: InputContainer, stream: VideoStream, *, frames: int, end_s: float
) -> str:
    """Why the file seems to be cut off; empty where it does not.

    Args:
        path: the file.
        container: the same, open.
        stream: its video stream.
        frames: pictures that were decoded, damaged ones included.
        end_s: end of the last one, on the container's clock.
    """
    size = path.stat().st_size
    name = container.format.name
    promised = next((end(path) for key, end in _ENDS.items() if key in name), 0)
    if promised > size:
        return f"{size} of {promised} bytes are there"
    if "mp4" in name:  # the index may list more pictures than its edit list shows
        return ""
    if name == "mpegts":
        return "" if any(size % packet == 0 for packet in (188, 192, 204)) else "ends in mid-packet"
    if stream.frames and frames < stream.frames:
        return f"{frames} of {stream.frames} pictures are there"
    promised_s = _duration_s(container, stream)
    if promised_s is not None and end_s + max(_SLACK_S, 1.5 * end_s / frames) < promised_s:
        return f"ends after {end_s:.2f} of {promised_s:.2f} s"
    return ""


def _boxes_end(path: Path) -> int:
    """Where the last top-level box of an mp4 or mov claims to end, in bytes."""
    size = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            length = struct.unpack(">I", header[:4])[0]
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if length < 8:  # 0 means "to the end"; the rest is padding
                return size
            offset += length
    return offset


def _segment_end(path: Path) -> int:
    """Where the segment of a Matroska or WebM file claims to end; 0 where it does not say."""
    with path.open("rb") as file:
        head = file.read(4096)
    header_size, start = _vint(head, 4)
    segment = start + header_size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return 0
    segment_size, start = _vint(head, segment + 4)
    return start + segment_size if segment_size >= 0 else 0


def _vint(data: bytes, offset: int) -> tuple[int, int]:
    """An EBML size and the offset behind it; -1 for "unknown", as live recordings have it."""
    length = 9 - data[offset].bit_length()
    value = int.from_bytes(data[offset : offset + length], "big") & ((1 << 7 * length) - 1)
    return (-1 if value == (1 << 7 * length) - 1 else value), offset + length


def _riff_end(path: Path) -> int:
    """Where the first RIFF chunk of an AVI claims to end."""
    with path.open("rb") as file:
        return 8 + struct.unpack("<I", file.read(8)[4:])[0]


_ENDS = {"mp4": _boxes_end, "matroska": _segment_end, "avi": _riff_end}


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """End of the video stream as the header has it, in seconds; None where it does not say.

    The container's own duration counts only where there is nothing but video: sound often runs
    longer.
    """
    if text := stream.metadata.get("DURATION"):
        told = _CLOCK.fullmatch(text)  # a damaged one promises nothing
        if told is None:
            return None
        hours, minutes, seconds = told.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # estimates from the bit rate are made for these, not promises
    if container.format.name in ("mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu"):
        return None
    if len(container.streams) > 1 or not container.duration:
        return None
    return container.duration / 1e6
