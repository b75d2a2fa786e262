"""An open video file: its frames in presentation order, upright and with square pixels.

Runs on footage that may be broken or hostile, so it is called in a worker process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import dropwhile
from pathlib import Path
from typing import cast

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from wanctl.video.opening import VideoError, open_container
from wanctl.video.orientation import Orientation
from wanctl.video.scanning.decode_stats import DecodeStats
from wanctl.video.stream_choice import Shown, count_streams, main_stream, needs_counting

# The strictest checks that still pass intact files. `explode` would drop damaged frames instead
# of marking them, which hides how many there are.
_CHECKS = {"err_detect": "crccheck+bitstream+buffer"}
# With `bitstream`, this decoder refuses the zeros that keep a constant bit rate (broadcasts, D-10).
_PADDED_CHECKS = {"err_detect": "crccheck+buffer"}
_PADDED = ("mpeg1video", "mpeg2video")
# AVColorSpace: unspecified and reserved; BT.601 of 625 and of 525 lines; BT.2020 with non-constant
# and with constant luminance
_UNNAMED_MATRICES, _BT601_MATRICES, _BT2020_MATRICES = (2, 3), (5, 6), (9, 10)
_HD_WIDTH, _PAL_HEIGHT = 1280, 576
# Formats whose first plane is luma in limited range, unless the frame says otherwise.
_PLANAR = ("yuv420p", "yuv422p", "yuv444p", "nv12")
_BLACK, _LEVELS = 16, 219  # of limited range


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its main video stream, for single-threaded decoding.

    Args:
        path: on a disk, or a URL that fsspec reads.

    Raises:
        VideoError: there is no such file, it is empty, not a video, or has no video stream.
    """
    with open_container(path) as container:
        stream = main_stream(container, _counts(path, container))
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams"
            raise VideoError(f"{path}: no video stream (found: {kinds})")
        # Slice threads obscure which frame was damaged, and have crashed on truncated H.264.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        padded = stream.codec_context.codec.name in _PADDED
        stream.codec_context.options = _PADDED_CHECKS if padded else _CHECKS
        stream.codec_context.copy_opaque = True  # frames know the packet that they come from
        yield container, stream


def _counts(path: str | Path, container: InputContainer) -> dict[int, Shown]:
    """What each video stream shows, where several must be compared and the header is silent."""
    if not needs_counting(container):
        return {}
    with open_container(path) as other:
        return count_streams(other)


def decode_frames(
    container: InputContainer,
    stream: VideoStream,
    stats: DecodeStats | None = None,
    *,
    from_key: bool = False,
) -> Iterator[VideoFrame]:
    """Decode all frames from the current position, in the order of display.

    Their PTS may be missing or fall (see `scanning.clock`). Damaged packets are skipped and noted.

    Args:
        container: the open file.
        stream: its video stream.
        stats: what happens is noted in it.
        from_key: begin at a key frame. In the middle of a group of pictures, which is where seeking
            in transport streams ends, some decoders show frames without what they refer to.
    """
    stats = stats or DecodeStats()
    packets = _packets(container, stream, stats)
    if from_key:
        packets = dropwhile(lambda packet: packet.size and not packet.is_keyframe, packets)
    flushed = False
    for packet in packets:
        if not packet.size and packet.pos is not None:
            continue  # an empty packet that is not the last one would end decoding
        stats.begin(packet)
        frames: list[VideoFrame] = []
        try:
            frames = cast("list[VideoFrame]", packet.decode())
        except av.error.EOFError:
            stats.unreadable = "the decoder has ended" if packet.size else ""
            return
        except av.error.FFmpegError as error:
            stats.fail(error)
        stats.end(packet, frames)
        yield from frames
        flushed = not packet.size
    if not flushed:  # no empty packet at the end has asked for the delayed frames
        with suppress(av.error.FFmpegError):
            frames = stream.codec_context.decode(None)
            stats.flush(frames)
            yield from frames


def _packets(
    container: InputContainer, stream: VideoStream, stats: DecodeStats
) -> Iterator[Packet]:
    """Packets until the end, or until the container cannot be read any further."""
    try:
        yield from container.demux(stream)
    except av.error.EOFError:
        return
    except (av.error.FFmpegError, OSError) as error:
        stats.unreadable = str(error)
    except IndexError:  # PyAV, behind the last packet of a file in which streams appear later on
        return


def display_size(
    width: int, height: int, sar: tuple[int, int], orientation: Orientation
) -> tuple[int, int]:
    """Width and height on screen of a stored frame: pixels made square, then turned upright."""
    wide = max(1, round(width * sar[0] / sar[1]))
    return (height, wide) if orientation.turned else (wide, height)


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


def primaries_of(frame: VideoFrame) -> str:
    """Name of the colour primaries, as in `ColorPrimaries`; "" where the file does not say.

    A file that names the matrix of BT.2020 alone has its primaries.
    """
    try:
        primaries = ColorPrimaries(frame.color_primaries)
    except ValueError:
        primaries = ColorPrimaries.UNSPECIFIED
    if primaries is ColorPrimaries.UNSPECIFIED:
        return "bt2020" if frame.colorspace in _BT2020_MATRICES else ""
    return primaries.name.lower()


def assumed_matrix(frame: VideoFrame) -> Colorspace | None:
    """The matrix of a frame that does not name its own; None where it does.

    mpv and libplacebo guess by the stored size in the same way; FFmpeg takes BT.601 for all.
    """
    if frame.format.is_rgb or frame.colorspace not in _UNNAMED_MATRICES:
        return None
    if primaries_of(frame) == "bt2020":
        return Colorspace.BT2020
    hd = frame.width >= _HD_WIDTH or frame.height > _PAL_HEIGHT
    return Colorspace.ITU709 if hd else Colorspace.ITU601


class FrameConverter:
    """Converts decoded frames to upright arrays of a given size.

    The stream's colour matrix and range are honoured (limited range becomes full range); HD footage
    that names no matrix is BT.709. The transfer curve is not: HDR footage (PQ, HLG) keeps its curve
    and appears pale, so the clips table names the curve and the `container` filter drops it.
    """

    def __init__(self, orientation: Orientation) -> None:
        self._orientation = orientation
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
        size = (height, width) if self._orientation.turned else (width, height)
        if color == "gray" and size == (frame.width, frame.height) and _has_gray_plane(frame):
            return self._orientation.apply(full_range_luma(frame))
        pixels, to_range = ("gray", ColorRange.JPEG) if color == "gray" else ("rgb24", None)
        # a reformatter keeps one scaling context; sharing one between sizes would rebuild it
        reformatter = self._reformatters.setdefault((*size, pixels, how), VideoReformatter())
        scaled = reformatter.reformat(
            frame,
            *size,
            pixels,
            src_colorspace=assumed_matrix(frame),
            interpolation=how,
            dst_color_range=to_range,
            threads=1,
        )
        return self._orientation.apply(scaled.to_ndarray())


def _has_gray_plane(frame: VideoFrame) -> bool:
    """Whether the first plane differs from gray, which is luma of BT.601, in its range only."""
    matrix = assumed_matrix(frame) or frame.colorspace
    return (
        frame.format.name in _PLANAR
        and frame.color_range != ColorRange.JPEG
        and matrix in _BT601_MATRICES
    )


def full_range_luma(frame: VideoFrame) -> np.ndarray:
    """(H, W) uint8, the first plane of a frame of limited range, in full range.

    The levels are those of swscale, which takes several times as long to find them.
    """
    import cv2  # noqa: PLC0415  see `decode`

    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  it is a buffer
    luma = rows.reshape(plane.height, plane.line_size)[:, : plane.width]
    scale = 255 / _LEVELS
    return cv2.convertScaleAbs(cv2.max(luma, _BLACK), alpha=scale, beta=-_BLACK * scale)  # type: ignore[call-overload]


def fit_long_side(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Size scaled down so that the longer side is at most `long_side`; never scaled up."""
    longest = max(width, height)
    if long_side is None or longest <= long_side:
        return width, height
    scale = long_side / longest
    return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))
