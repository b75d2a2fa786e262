"""Detects truncated files by the length that their container declares.

A decoder alone cannot: the frames before the cut are intact.
"""

import re
import struct
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

# Streams of one file rarely end together: a quarter of a second, or one frame at about 1 fps, is
# no truncation.
_SLACK_S = 0.25
# Matroska's statistics tag DURATION: HH:MM:SS.nnnnnnnnn
_CLOCK = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)


def truncation_reason(
    path: Path, container: InputContainer, stream: VideoStream, *, frames: int, end_s: float
) -> str:
    """Why the file appears truncated; "" where it does not.

    Args:
        path: the file.
        container: the open file.
        stream: its video stream.
        frames: decoded frames, damaged ones included.
        end_s: end of the last frame, on the container's clock.
    """
    size = path.stat().st_size
    name = container.format.name
    declared = next((end(path) for key, end in _ENDS.items() if key in name), 0)
    if declared > size:
        return f"{size} of {declared} bytes are there"
    if "mp4" in name:  # the index may list more frames than its edit list shows
        return ""
    if name == "mpegts":
        return "" if any(size % packet == 0 for packet in (188, 192, 204)) else "ends in mid-packet"
    if stream.frames and frames < stream.frames:
        return f"{frames} of {stream.frames} frames are there"
    declared_s = _duration_s(container, stream)
    if declared_s is not None and end_s + max(_SLACK_S, 1.5 * end_s / frames) < declared_s:
        return f"ends after {end_s:.2f} of {declared_s:.2f} s"
    return ""


def _boxes_end(path: Path) -> int:
    """Where the last top-level box of an mp4 or mov declares its end, in bytes."""
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
    """Where the segment of a Matroska or WebM file declares its end; 0 where it does not say."""
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
    """Where the first RIFF chunk of an AVI declares its end."""
    with path.open("rb") as file:
        return 8 + struct.unpack("<I", file.read(8)[4:])[0]


_ENDS = {"mp4": _boxes_end, "matroska": _segment_end, "avi": _riff_end}


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """End of the video stream by its header, in seconds; None where it declares none.

    The container's own duration counts only where video is the only stream: audio is often
    longer.
    """
    if text := stream.metadata.get("DURATION"):
        clock = _CLOCK.fullmatch(text)  # a damaged tag declares nothing
        if clock is None:
            return None
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # for these formats FFmpeg estimates the duration from the bit rate
    if container.format.name in ("mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu"):
        return None
    if len(container.streams) > 1 or not container.duration:
        return None
    return container.duration / 1e6
