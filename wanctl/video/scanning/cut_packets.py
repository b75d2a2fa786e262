"""Detects that a file without a structure to go by ends in the middle of a frame."""

from pathlib import Path

_TS_PACKETS = (188, 192, 204)
_TS_SYNC = 0x47


def partial_packet(path: Path, container: str, end_byte: int) -> bool:
    """Whether the last packet that was read is not there as a whole: its frame is damaged.

    FFmpeg marks such a packet in most containers, but fills it up in these.

    Args:
        path: the file.
        container: FFmpeg's name of the demuxer.
        end_byte: where the packets that were read end, by their size.
    """
    size = path.stat().st_size
    if container == "dv":
        return end_byte > size
    return container == "mpegts" and _partial_ts(path, size)


def partial_frame(path: Path, container: str, end_byte: int) -> bool:
    """Whether another frame begins behind the packets that were read, which is not whole."""
    if container != "yuv4mpegpipe":
        return False
    with path.open("rb") as file:
        file.seek(end_byte)
        # a packet counts from its header on, which is a line
        return b"FRAME" in file.read(256)


def _partial_ts(path: Path, size: int) -> bool:
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
