"""Reads spans of a video by exact PTS, in one sequential pass each."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wanctl.data.frames import Box, FrameBatch, FrameSpec
from wanctl.data.stream import (
    Painter,
    VideoError,
    decoded,
    display_size,
    fit_long_side,
    open_video,
    rotation_of,
    sample_aspect,
)

# Containers with millisecond ticks round PTS by up to half a millisecond; without the slack a
# picture that is 0.3 ms late would lose its place to the one before it.
_SLACK_S = 1e-3


def read_clip(
    path: Path,
    start_pts: int,
    end_pts: int,
    specs: Sequence[FrameSpec],
    width: int,
    height: int,
) -> list[FrameBatch]:
    """Pictures of one clip for several readers, in one pass.

    A sample is the picture on screen at its moment (PTS at or before it). Samples that fall on
    the same picture count once, so a clip never gives more pictures than it has.

    Args:
        path: the file.
        start_pts: PTS of the clip's first picture.
        end_pts: end of the clip, exclusive.
        specs: what each reader wants.
        width: display width of the source.
        height: display height of the source.

    Returns:
        One batch per spec, in the order of `specs`.

    Raises:
        VideoError: the span holds no pictures, or the file cannot be read.
    """
    with _open_span(path, start_pts, end_pts) as span:
        takers = [_Taker(spec, span.duration_s, width, height) for spec in specs]
        for frame, time_s, until_s in span.pictures():
            painted: dict[tuple[int, int], np.ndarray] = {}
            for taker in takers:
                if taker.wants(until_s):
                    if taker.size not in painted:
                        painted[taker.size] = span.painter(frame).paint(frame, *taker.size)
                    taker.take(painted[taker.size], time_s)
    return [taker.batch(width) for taker in takers]


def read_window(
    path: Path,
    start_pts: int,
    end_pts: int,
    *,
    fps: float,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    crop: Box | None = None,
) -> np.ndarray:
    """A span resampled in time, cropped, and resized to cover a given size.

    Args:
        path: the file.
        start_pts: PTS of the first picture.
        end_pts: end of the span, exclusive.
        fps: pictures per second of the result; each is the one on screen at its moment.
        frames: how many pictures; None takes all that fit.
        height: of the result; None (with `width`) keeps the crop's size.
        width: of the result.
        crop: the part of the picture to use, in display pixels.

    Returns:
        (T, height, width, 3) uint8 RGB.

    Raises:
        VideoError: the span is shorter than `frames`, or holds no pictures.
    """
    with _open_span(path, start_pts, end_pts) as span:
        available = math.floor((span.duration_s - _SLACK_S) * fps) + 1
        count = frames if frames is not None else available
        if count > available:
            raise VideoError(
                f"{path}: {count} frames at {fps:g} fps asked for, but the span "
                f"{start_pts}..{end_pts} holds {available}"
            )
        video: np.ndarray | None = None
        taken = 0
        for frame, _, until_s in span.pictures():
            repeats = 0
            while taken + repeats < count and (taken + repeats) / fps + _SLACK_S < until_s:
                repeats += 1
            if repeats:
                picture = span.cut(frame, crop, height, width)
                if video is None:
                    video = np.empty((count, *picture.shape), dtype=np.uint8)
                video[taken : taken + repeats] = picture
                taken += repeats
            if taken == count:
                break
    assert video is not None
    assert taken == count
    return video


class _Taker:
    """Collects one reader's pictures as they go by."""

    def __init__(self, spec: FrameSpec, duration_s: float, width: int, height: int) -> None:
        self.size = fit_long_side(width, height, spec.long_side_px)
        self._gray = spec.color == "gray"
        self._moments = _moments(spec, duration_s)
        self._next = 0
        self._frames: list[np.ndarray] = []
        self._times: list[float] = []

    def wants(self, until_s: float) -> bool:
        """Whether a sample falls before `until_s`; passes over all that do."""
        before = self._next
        while self._next < len(self._moments) and self._moments[self._next] + _SLACK_S < until_s:
            self._next += 1
        return self._next > before

    def take(self, picture: np.ndarray, time_s: float) -> None:
        self._frames.append(_luma(picture) if self._gray else picture)
        self._times.append(time_s)

    def batch(self, display_width: int) -> FrameBatch:
        return FrameBatch(
            np.stack(self._frames), np.array(self._times), self.size[0] / display_width
        )


def _moments(spec: FrameSpec, duration_s: float) -> np.ndarray:
    """Seconds from the clip's start at which a spec samples."""
    count = spec.count
    if spec.fps is not None:
        fitting = max(1, math.ceil((duration_s - _SLACK_S) * spec.fps))
        if spec.max_count is None or fitting <= spec.max_count:
            return np.arange(fitting) / spec.fps
        count = spec.max_count
    assert count is not None
    return (np.arange(count) + 0.5) / count * duration_s


def _luma(picture: np.ndarray) -> np.ndarray:
    """BT.601 luma of full-range RGB, rounded."""
    import cv2  # noqa: PLC0415  0.1 s and 300 MB of address space that scanning does without

    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


class _Span:
    """The pictures of an open file between two PTS."""

    def __init__(
        self, path: Path, container: InputContainer, stream: VideoStream, bounds: tuple[int, int]
    ) -> None:
        self._path = path
        self._container = container
        self._stream = stream
        self._start, self._end = bounds
        self._tick_s = float(stream.time_base or 1)
        self._painter: Painter | None = None
        self._size = (0, 0)
        self.duration_s = (self._end - self._start) * self._tick_s

    def pictures(self) -> Iterator[tuple[VideoFrame, float, float]]:
        """(picture, its time, the next one's time) in seconds from the start of the span.

        Looks one picture ahead, so that two native pictures are held at most.
        """
        held: VideoFrame | None = None
        for frame in self._from_start():
            if held is not None:
                yield held, self._seconds(held.pts), self._seconds(frame.pts)
            held = frame
        if held is None:
            raise VideoError(f"{self._path}: no pictures between {self._start} and {self._end}")
        yield held, self._seconds(held.pts), self.duration_s + 2 * _SLACK_S

    def _from_start(self) -> Iterator[VideoFrame]:
        frames = self._seek()
        first = next(frames, None)
        if first is None or first.pts != self._start or first.is_corrupt:
            # an index that points behind the key frame, or an open group of pictures
            self._container.seek(0, backward=True, any_frame=False)
            frames = self._inside()
            first = next(frames, None)
        if first is not None:
            yield first
            yield from frames

    def _seek(self) -> Iterator[VideoFrame]:
        self._container.seek(self._start, stream=self._stream, backward=True)
        return self._inside()

    def _inside(self) -> Iterator[VideoFrame]:
        for frame in decoded(self._container, self._stream):
            if frame.pts >= self._end:
                return
            if frame.pts >= self._start:
                yield frame

    def _seconds(self, pts: int | None) -> float:
        assert pts is not None
        return (pts - self._start) * self._tick_s

    def painter(self, frame: VideoFrame) -> Painter:
        """The painter for this stream, made at its first picture."""
        if self._painter is None:
            rotation = rotation_of(frame)
            self._painter = Painter(rotation)
            self._size = display_size(
                frame.width, frame.height, sample_aspect(self._stream), rotation
            )
        return self._painter

    def cut(
        self, frame: VideoFrame, crop: Box | None, height: int | None, width: int | None
    ) -> np.ndarray:
        """The crop of a picture, resized to cover (height, width)."""
        painter = self.painter(frame)
        picture = painter.paint(frame, *self._size, how="BICUBIC")
        box = crop or Box(0, 0, *self._size)
        if not _inside_of(box, self._size):
            raise VideoError(f"{self._path}: crop {tuple(box)} is not inside {self._size}")
        if height is None or width is None:
            return picture[box.y : box.y + box.height, box.x : box.x + box.width]
        return _cover(picture, box, height, width)


@contextmanager
def _open_span(path: Path, start_pts: int, end_pts: int) -> Iterator[_Span]:
    if end_pts <= start_pts:
        raise VideoError(f"{path}: the span {start_pts}..{end_pts} is empty")
    with open_video(path) as (container, stream):
        yield _Span(path, container, stream, (start_pts, end_pts))


def _inside_of(box: Box, size: tuple[int, int]) -> bool:
    right, bottom = box.x + box.width, box.y + box.height
    return (
        min(box) >= 0
        and box.width > 0
        and box.height > 0
        and right <= size[0]
        and bottom <= size[1]
    )


def _cover(picture: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Cut the largest centred rectangle of the wanted shape out of `box` and resize it."""
    import cv2  # noqa: PLC0415  see _luma

    scale = min(box.width / width, box.height / height)
    cut_width = min(box.width, max(1, round(width * scale)))
    cut_height = min(box.height, max(1, round(height * scale)))
    x = box.x + (box.width - cut_width) // 2
    y = box.y + (box.height - cut_height) // 2
    part = picture[y : y + cut_height, x : x + cut_width]
    # averaging is right for shrinking and blocky for enlarging
    how = cv2.INTER_AREA if scale >= 1 else cv2.INTER_CUBIC
    return cv2.resize(part, (width, height), interpolation=how)
