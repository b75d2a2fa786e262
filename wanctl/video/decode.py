"""Decodes the frames of a clip for filters, captioners and exports, in one sequential pass."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanctl.video.frame_sampling import SLACK_S, FrameSampler, num_frames_at, num_frames_at_many
from wanctl.video.frames import Box, FrameBatch, FrameRange, FrameSpec
from wanctl.video.seek import SpanReader, open_span
from wanctl.video.stream import VideoError, fit_long_side

__all__ = [
    "iter_window", "num_frames_at", "num_frames_at_many", "read_clip", "read_frames", "read_window",
]  # fmt: skip


# swscale's names
SCALING = {"area": "AREA", "nearest": "POINT"}


def read_clip(
    path: str | Path,
    start_pts: int,
    end_pts: int,
    specs: Sequence[FrameSpec],
    width: int,
    height: int,
    frame_range: FrameRange | None = None,
) -> list[FrameBatch]:
    """Decode one clip once and sample its frames for several readers.

    A sample is the frame displayed at its time (PTS at or before it). Samples that fall on the
    same frame count once, so a clip never gives more frames than it has.

    Args:
        path: the file.
        start_pts: PTS of the clip's first frame.
        end_pts: end of the clip, exclusive.
        specs: the frames that each reader requests.
        width: display width of the source.
        height: display height of the source.
        frame_range: which frames of the file make the clip, where that is known.

    Returns:
        One batch per spec, in the order of `specs`.

    Raises:
        VideoError: the span holds no frames, or the file cannot be read.
    """
    with open_span(path, start_pts, end_pts, frame_range) as span:
        collectors = [_FrameCollector(spec, span.duration_s, width, height) for spec in specs]
        for frame, time_s, until_s in span.frames():
            converted: dict[_FrameFormat, np.ndarray] = {}
            for collector in collectors:
                if collector.samples(time_s, until_s):
                    form = collector.format
                    if form not in converted:
                        converter = span.converter(frame)
                        converted[form] = converter.convert(
                            frame, *form.size, color=form.color, how=form.how
                        )
                    collector.take(converted[form], time_s)
    return [collector.batch(width) for collector in collectors]


def read_window(
    path: str | Path,
    start_pts: int,
    end_pts: int,
    *,
    fps: float,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    crop: Box | None = None,
) -> np.ndarray:
    """Decode a span, resample it in time, crop it, and resize it to cover a given size.

    Args:
        path: the file.
        start_pts: PTS of the first frame.
        end_pts: end of the span, exclusive.
        fps: frames per second of the result; each is the frame displayed at its time.
        frames: number of frames; None takes all that fit.
        height: of the result; None (with `width`) keeps the crop's size.
        width: of the result.
        crop: the part of the frame to use, in display pixels.

    Returns:
        (T, height, width, 3) uint8 RGB.

    Raises:
        VideoError: the span is shorter than `frames`, or holds no frames.
    """
    with open_span(path, start_pts, end_pts) as span:
        count = _count(path, span, fps, frames)
        video: np.ndarray | None = None
        for index, array in enumerate(_resample(span, fps, count, (height, width), crop)):
            if video is None:
                video = np.empty((count, *array.shape), dtype=np.uint8)
            video[index] = array
    assert video is not None
    return video


def read_frames(
    path: str | Path, pts: Sequence[int], frame_range: FrameRange | None = None
) -> np.ndarray:
    """Decode single frames at native size: (N, height, width, 3) uint8 RGB, upright, square pixels.

    Args:
        path: the file.
        pts: their presentation times, rising.
        frame_range: for a file that cannot be searched by PTS, where they are; one after the other.

    Raises:
        VideoError: a frame is missing.
    """
    requested, frames = set(pts), []
    with open_span(path, pts[0], pts[-1] + 1, frame_range) as span:
        for frame, _, _ in span.frames():
            if (frame_range and frame_range.clock) or frame.pts in requested:
                frames.append(span.converter(frame).convert(frame, *span.size, how="BICUBIC"))
    if len(frames) != len(requested):
        raise VideoError(
            f"{path}: {len(requested) - len(frames)} frames are missing; the file has changed"
        )
    return np.stack(frames)


def iter_window(
    path: str | Path,
    start_pts: int,
    end_pts: int,
    *,
    fps: float,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
    frame_range: FrameRange | None = None,
) -> Iterator[np.ndarray]:
    """Yield the frames of `read_window` one by one, so that a long span needs little memory.

    `size` is (height, width).
    """
    with open_span(path, start_pts, end_pts, frame_range) as span:
        count = _count(path, span, fps, frames)
        yield from _resample(span, fps, count, size or (None, None), crop)


def _count(path: str | Path, span: SpanReader, fps: float, frames: int | None) -> int:
    available = num_frames_at(fps, span.duration_s)
    if frames is not None and frames > available:
        raise VideoError(
            f"{path}: {frames} frames at {fps:g} fps requested, the span of "
            f"{span.duration_s:.2f} s holds {available}"
        )
    return available if frames is None else frames


def _resample(
    span: SpanReader,
    fps: float,
    count: int,
    size: tuple[int | None, int | None],
    crop: Box | None,
) -> Iterator[np.ndarray]:
    taken = 0
    for frame, _, until_s in span.frames():
        array = None
        while taken < count and taken / fps + SLACK_S < until_s:
            if array is None:
                full = span.converter(frame).convert(frame, *span.size, how="BICUBIC")
                array = _crop(full, crop, *size)
            yield array
            taken += 1
        if taken == count:
            return


class _FrameFormat(NamedTuple):
    """Size, colour and interpolation of a frame; readers that request the same share the array."""

    size: tuple[int, int]
    color: str
    how: str


class _FrameCollector:
    """Collects the frames that one reader samples, in one pass over the clip."""

    def __init__(self, spec: FrameSpec, duration_s: float, width: int, height: int) -> None:
        size = fit_long_side(width, height, spec.long_side_px)
        self.format = _FrameFormat(size, spec.color, SCALING[spec.scaling])
        self._sampler = FrameSampler(spec, duration_s)
        self._frames: list[np.ndarray] = []
        self._times: list[float] = []

    def samples(self, time_s: float, until_s: float) -> bool:
        """Whether the reader samples the frame displayed between these times."""
        return self._sampler.samples(time_s, until_s)

    def take(self, array: np.ndarray, time_s: float) -> None:
        self._frames.append(array)
        self._times.append(time_s)

    def batch(self, display_width: int) -> FrameBatch:
        return FrameBatch(
            np.stack(self._frames), np.array(self._times), self.format.size[0] / display_width
        )


def _crop(array: np.ndarray, crop: Box | None, height: int | None, width: int | None) -> np.ndarray:
    """Crop a frame and resize the crop to cover (height, width)."""
    rows, columns = array.shape[:2]
    box = crop or Box(0, 0, columns, rows)
    if min(box) < 0 or not box.width or not box.height:
        raise VideoError(f"crop {tuple(box)} has no area or begins outside the frame")
    if box.x + box.width > columns or box.y + box.height > rows:
        raise VideoError(f"crop {tuple(box)} reaches outside the {columns}x{rows} frame")
    if height is None or width is None:
        return array[box.y : box.y + box.height, box.x : box.x + box.width]
    return _resize_to_cover(array, box, height, width)


def _resize_to_cover(array: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Cut the largest centred rectangle of the requested shape out of `box` and resize it."""
    import cv2  # noqa: PLC0415  0.1 s and 300 MB of address space that scanning does without

    scale = min(box.width / width, box.height / height)
    cut_width = min(box.width, max(1, round(width * scale)))
    cut_height = min(box.height, max(1, round(height * scale)))
    x = box.x + (box.width - cut_width) // 2
    y = box.y + (box.height - cut_height) // 2
    part = array[y : y + cut_height, x : x + cut_width]
    # averaging is right for shrinking and blocky for enlarging
    how = cv2.INTER_AREA if scale >= 1 else cv2.INTER_CUBIC
    return cv2.resize(part, (width, height), interpolation=how)
