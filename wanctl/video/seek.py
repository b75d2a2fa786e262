"""Frames of a video between two PTS: seeks, and checks that decoding starts at the right frame."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wanctl.video.frame_sampling import SLACK_S
from wanctl.video.stream import (
    FrameConverter,
    VideoError,
    decode_frames,
    display_size,
    open_video,
    rotation_of,
    sample_aspect,
)


class SpanReader:
    """Reads the frames of an open file between two PTS.

    Attributes:
        size: (width, height) on screen; (0, 0) before the first call of `converter`.
        duration_s: length of the span.
    """

    def __init__(
        self,
        path: str | Path,
        container: InputContainer,
        stream: VideoStream,
        bounds: tuple[int, int],
    ) -> None:
        self._path = path
        self._container = container
        self._stream = stream
        self._start, self._end = bounds
        self._tick_s = float(stream.time_base or 1)
        self._converter: FrameConverter | None = None
        self.size = (0, 0)
        self.duration_s = (self._end - self._start) * self._tick_s

    def frames(self) -> Iterator[tuple[VideoFrame, float, float]]:
        """(frame, its time, time of the next frame) in seconds from the start of the span.

        Reads one frame ahead, so that at most two native frames are in memory.
        """
        current: VideoFrame | None = None
        for frame in self._from_start():
            if current is not None:
                yield current, self._seconds(current.pts), self._seconds(frame.pts)
            current = frame
        if current is None:
            raise VideoError(f"{self._path}: no frames between {self._start} and {self._end}")
        yield current, self._seconds(current.pts), self.duration_s + 2 * SLACK_S

    def _from_start(self) -> Iterator[VideoFrame]:
        frames = self._seek(self._start, self._stream)
        first = next(frames, None)
        if first is None or first.pts != self._start or first.is_corrupt:
            # the index points past the key frame, or the group of pictures is open
            frames = self._seek(self._container.start_time or 0, stream=None)
            first = next(frames, None)
        if first is not None and first.pts == self._start:
            yield first
            yield from frames
        else:
            yield from self._reopened()

    def _reopened(self) -> Iterator[VideoFrame]:
        """Frames of the span from a newly opened file: some short streams stay at their end."""
        with open_video(self._path) as (self._container, self._stream):
            yield from self._inside()

    def _seek(self, offset: int, stream: VideoStream | None) -> Iterator[VideoFrame]:
        # a file that cannot seek has just been opened, so it is at its beginning
        with suppress(av.error.FFmpegError):
            self._container.seek(offset, stream=stream, backward=True)
        return self._inside()

    def _inside(self) -> Iterator[VideoFrame]:
        for frame in decode_frames(self._container, self._stream):
            assert frame.pts is not None
            if frame.pts >= self._end:
                return
            if frame.pts >= self._start:
                yield frame

    def _seconds(self, pts: int | None) -> float:
        assert pts is not None
        return (pts - self._start) * self._tick_s

    def converter(self, frame: VideoFrame) -> FrameConverter:
        """The converter of this stream, created at its first frame."""
        if self._converter is None:
            rotation = rotation_of(frame)
            self._converter = FrameConverter(rotation)
            self.size = display_size(
                frame.width, frame.height, sample_aspect(self._stream), rotation
            )
        return self._converter


@contextmanager
def open_span(path: str | Path, start_pts: int, end_pts: int) -> Iterator[SpanReader]:
    """Open a file for reading the frames with `start_pts` <= PTS < `end_pts`.

    Raises:
        VideoError: the span is empty, or the file is no video.
    """
    if end_pts <= start_pts:
        raise VideoError(f"{path}: the span {start_pts}..{end_pts} is empty")
    with open_video(path) as (container, stream):
        yield SpanReader(path, container, stream, (start_pts, end_pts))
