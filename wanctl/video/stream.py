"""An open video file: its frames in presentation order, upright and with square pixels.

Runs on footage that may be broken or hostile, so it is called in a worker process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from wanctl.video.opening import VideoError, open_container

# The strictest checks that still pass intact files. `explode` would drop damaged frames instead
# of marking them, which hides how many there are.
_CHECKS = {"err_detect": "crccheck+bitstream+buffer"}


class DecodeStats:
    """Counts of one decoding pass over a stream.

    Attributes:
        frames: decoded frames, including damaged ones.
        corrupt: frames that the decoder marked as damaged.
        errors: packets that could not be read or decoded at all.
        disordered: frames skipped because their PTS did not rise.
        coded_bytes: bytes of all packets.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.corrupt = 0
        self.errors = 0
        self.disordered = 0
        self.coded_bytes = 0


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its main video stream, for single-threaded decoding.

    Args:
        path: on a disk, or a URL that fsspec reads.

    Raises:
        VideoError: there is no such file, it is empty, not a video, or has no video stream.
    """
    with open_container(path) as container:
        stream = _main_stream(container)
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams"
            raise VideoError(f"{path}: no video stream (found: {kinds})")
        # Slice threads obscure which frame was damaged, and have crashed on truncated H.264.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = _CHECKS
        yield container, stream


@contextmanager
def decoder_errors(stream: VideoStream) -> Iterator[list[str]]:
    """Collect the errors that the stream's decoder logs inside the block.

    Some decoders (FFV1's checksums, HEVC) notice damage without marking the frame. Only for
    single-threaded decoding: FFmpeg's log callback needs the interpreter lock.
    """
    lines: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=True) as entries:
            yield lines
        name = stream.codec_context.codec.name
        lines += [text.strip() for _, source, text in entries if source == name]
    finally:
        av.logging.set_level(level)


def _main_stream(container: InputContainer) -> VideoStream | None:
    streams = [
        s
        for s in container.streams.video
        # a stream of an unknown codec has no context; a cover image is no video
        if s.codec_context and not s.disposition & s.disposition.attached_pic
    ]
    return max(streams, key=lambda s: s.codec_context.width, default=None)


def decode_frames(
    container: InputContainer, stream: VideoStream, stats: DecodeStats | None = None
) -> Iterator[VideoFrame]:
    """Decode frames from the current position, with strictly rising PTS.

    Damaged packets are skipped and counted; a frame without a PTS, or one whose PTS does not
    exceed the last one, is skipped.
    """
    stats = stats or DecodeStats()
    last = None
    for packet in _packets(container, stream, stats):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            stats.errors += 1
            continue
        stats.errors += packet.is_corrupt
        stats.coded_bytes += packet.size
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            stats.frames += 1
            stats.corrupt += frame.is_corrupt
            if frame.pts is None or (last is not None and frame.pts <= last):
                stats.disordered += 1
                continue
            last = frame.pts
            yield frame


def _packets(
    container: InputContainer, stream: VideoStream, stats: DecodeStats
) -> Iterator[Packet]:
    """Packets until the end, or until the container cannot be read any further."""
    try:
        yield from container.demux(stream)
    except av.error.EOFError:
        return
    except av.error.FFmpegError:
        stats.errors += 1


def display_size(width: int, height: int, sar: tuple[int, int], rotation: int) -> tuple[int, int]:
    """Width and height on screen of a stored frame: pixels made square, then turned upright."""
    wide = max(1, round(width * sar[0] / sar[1]))
    return (height, wide) if rotation in (90, 270) else (wide, height)


def rotation_of(frame: VideoFrame) -> int:
    """Degrees clockwise (0, 90, 180, 270) that turn the stored frame upright."""
    # FFmpeg counts counterclockwise in [-180, 180]; anything between quarter turns is rounded
    return -round(frame.rotation / 90) * 90 % 360


def sample_aspect(stream: VideoStream) -> tuple[int, int]:
    """Width to height of one stored pixel; 1:1 where the file does not say."""
    ratio = stream.sample_aspect_ratio
    if not ratio or ratio <= 0:
        return 1, 1
    return ratio.numerator, ratio.denominator


def transfer_of(frame: VideoFrame) -> str:
    """Name of the transfer curve, as in `ColorTrc`; "" where the file does not say."""
    try:
        curve = ColorTrc(frame.color_trc)
    except ValueError:
        return ""
    return "" if curve is ColorTrc.UNSPECIFIED else curve.name.lower()


class FrameConverter:
    """Converts decoded frames to upright arrays of a given size.

    The stream's colour matrix and range are honoured (limited range becomes full range); its
    transfer curve is not: HDR footage (PQ, HLG) keeps its curve and appears pale, so the clips
    table names the curve and the `container` filter drops it.
    """

    def __init__(self, rotation: int) -> None:
        self._rotation = rotation
        self._reformatters: dict[tuple[int, int, str, str], VideoReformatter] = {}

    def convert(
        self, frame: VideoFrame, width: int, height: int, *, color: str = "rgb", how: str = "AREA"
    ) -> np.ndarray:
        """Convert one frame to (height, width, 3) uint8 RGB, or (height, width) uint8 luma.

        Args:
            frame: stored frame.
            width: of the upright frame, in square pixels.
            height: of the upright frame.
            color: `rgb`, or `gray` for the stored luma plane alone.
            how: swscale's name of the interpolation.
        """
        turned = self._rotation in (90, 270)
        size = (height, width) if turned else (width, height)
        pixels, to_range = ("gray", ColorRange.JPEG) if color == "gray" else ("rgb24", None)
        # a reformatter keeps one scaling context; sharing one between sizes would rebuild it
        reformatter = self._reformatters.setdefault((*size, pixels, how), VideoReformatter())
        scaled = reformatter.reformat(
            frame, *size, pixels, interpolation=how, dst_color_range=to_range, threads=1
        )
        return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), -self._rotation // 90))


def fit_long_side(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Size scaled down so that the longer side is at most `long_side`; never scaled up."""
    longest = max(width, height)
    if long_side is None or longest <= long_side:
        return width, height
    scale = long_side / longest
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))
