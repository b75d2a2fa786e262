"""Frames of a clip: seeks, and checks that decoding starts at the right frame.

Files whose times cannot be searched (see `scanning.clock`) are decoded from the beginning, and
their frames are counted.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wanctl.video.frame_sampling import SLACK_S
from wanctl.video.frames import BY_DTS, BY_RATE, FrameRange, TrimmedRange, counted_factor
from wanctl.video.orientation import orientation_of
from wanctl.video.sources import disk_path, url_of
from wanctl.video.stream import (
    FrameConverter,
    VideoError,
    decode_frames,
    display_size,
    open_video,
    sample_aspect,
)

# Where no key frame is found at the PTS itself, it is looked for so many seconds before.
_BACK_S = (0.0, 2.0, 10.0)


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
        frame_range: FrameRange | None = None,
        cursor: "FrameCursor | None" = None,
    ) -> None:
        self._path = path
        self._container = container
        self._stream = stream
        self._first, self._stop = bounds
        self._trimmed = isinstance(frame_range, TrimmedRange)
        self._start, self._end = (
            frame_range.clip_pts if isinstance(frame_range, TrimmedRange) else bounds
        )
        self._range = frame_range
        self._cursor = cursor
        base = stream.time_base or Fraction(1)
        self._tick_s = float(base / counted_factor(base) if cursor else base)
        self._converter: FrameConverter | None = None
        self.size = (0, 0)
        self.duration_s = (self._stop - self._first) * self._tick_s

    def frames(self) -> Iterator[tuple[VideoFrame, float, float]]:
        """(frame, its time, time of the next frame) in seconds from the start of the span.

        Reads one frame ahead, so that at most two native frames are in memory.
        """
        current: VideoFrame | None = None
        since = 0
        slack = max(1, round(SLACK_S / self._tick_s))  # PTS are rounded; those of a span twice
        for frame, time in self._timed():
            if self._trimmed and time < self._first - slack:
                continue
            if self._trimmed and time >= self._stop - slack:
                break
            if current is not None:
                yield current, self._seconds(since), self._seconds(time)
            current, since = frame, time
        if current is None:
            raise VideoError(f"{self._path}: no frames between {self._first} and {self._stop}")
        yield current, self._seconds(since), self.duration_s + 2 * SLACK_S

    def _timed(self) -> Iterator[tuple[VideoFrame, int]]:
        """(frame, its time) of all frames of the span."""
        if self._range is not None and self._cursor is not None:
            frames = self._by_count(self._range, self._cursor)
        else:
            frames = self._by_pts()
        given = 0
        for each in frames:
            given += 1
            yield each
        if self._range is not None and given != self._range.count:
            raise VideoError(
                f"{self._path}: {given} of {self._range.count} frames are there; the file has "
                "changed"
            )

    def _by_pts(self) -> Iterator[tuple[VideoFrame, int]]:
        given, last = 0, self._start - 1
        for frame in self._from_start():
            assert frame.pts is not None
            given, last = given + 1, frame.pts
            yield frame, last
        if self._range is None or given >= self._range.count:
            return
        # after a seek, some demuxers stop before the end; they do not without one
        for frame in self._reopened():
            if frame.pts is not None and frame.pts > last:
                yield frame, frame.pts

    def _by_count(
        self, span: FrameRange, cursor: "FrameCursor"
    ) -> Iterator[tuple[VideoFrame, int]]:
        factor = counted_factor(self._stream.time_base or Fraction(1))
        usual = max(1, (self._end - self._start) // span.count)
        time, shift = self._start - usual, None
        for frame in cursor.take(span.first, span.count):
            raw = frame.dts if span.clock == BY_DTS else frame.pts
            if span.clock == BY_RATE or raw is None:  # the last frames of a stream have no DTS
                time += usual
            else:
                if shift is None:
                    shift = time + usual - raw * factor
                time = raw * factor + shift
            yield frame, time

    def _from_start(self) -> Iterator[VideoFrame]:
        for back_s in _BACK_S:
            # the index points past the key frame, or the group of pictures is open
            frames = self._seek(self._start - round(back_s / self._tick_s), self._stream)
            first = next(frames, None)
            if first is not None and first.pts == self._start and not first.is_corrupt:
                yield first
                yield from frames
                return
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
            yield from self._inside(from_key=False)

    def _seek(self, offset: int, stream: VideoStream | None) -> Iterator[VideoFrame]:
        # A file that cannot seek has just been opened, so it is at its beginning. A damaged index
        # leads out of the file.
        with suppress(av.error.FFmpegError, OSError):
            self._container.seek(offset, stream=stream, backward=True)
        return self._inside(from_key=True)

    def _inside(self, *, from_key: bool) -> Iterator[VideoFrame]:
        last = self._start - 1
        for frame in decode_frames(self._container, self._stream, from_key=from_key):
            # PTS rise in this file; but what a decoder shows first after a seek may have none
            if frame.pts is None:
                continue
            if frame.pts >= self._end:
                return
            if frame.pts > last:
                last = frame.pts
                yield frame

    def _seconds(self, time: int) -> float:
        return (time - self._first) * self._tick_s

    def converter(self, frame: VideoFrame) -> FrameConverter:
        """The converter of this stream, created at its first frame."""
        if self._converter is None:
            orientation = orientation_of(frame)
            self._converter = FrameConverter(orientation)
            self.size = display_size(
                frame.width, frame.height, sample_aspect(self._stream), orientation
            )
        return self._converter


class FrameCursor:
    """Counts the frames of a file while they are decoded, from the beginning on."""

    def __init__(self, path: str | Path) -> None:
        self._open = ExitStack()
        self.container, self.stream = self._open.enter_context(open_video(path))
        self._frames = decode_frames(self.container, self.stream)
        self.position = 0

    def take(self, first: int, count: int) -> Iterator[VideoFrame]:
        """Frames from number `first` on; those before it that are still to come are skipped."""
        for frame in self._frames:
            self.position += 1
            if self.position > first:
                yield frame
            if self.position >= first + count:
                return

    def close(self) -> None:
        """Close the file."""
        self._open.close()


class _LastCursor:
    """The cursor that was used last.

    Clips of one file are read in the order of time, each in a call of its own; without it, every
    call would decode the file from its beginning.
    """

    def __init__(self) -> None:
        self._key: tuple[str, int, int] | None = None
        self._cursor: FrameCursor | None = None

    @contextmanager
    def at(self, path: str | Path, first: int) -> Iterator[FrameCursor]:
        """A cursor on a file that has not passed frame `first`."""
        key, cursor = self._key, self._cursor
        self._key = self._cursor = None  # after an error, nobody goes on with it
        wanted = _identity(path)
        if cursor is not None and (not wanted or key != wanted or cursor.position > first):
            cursor.close()
            cursor = None
        cursor = cursor or FrameCursor(path)
        try:
            yield cursor
        except BaseException:
            cursor.close()
            raise
        if wanted:
            self._key, self._cursor = wanted, cursor
        else:
            cursor.close()


def _identity(path: str | Path) -> tuple[str, int, int] | None:
    """Tells whether a file is still the same; None where that cannot be told."""
    if url_of(path):
        return None
    with suppress(OSError):  # opening it says what is wrong
        info = disk_path(path).stat()
        return str(path), info.st_mtime_ns, info.st_size
    return None


_last_cursor = _LastCursor()


@contextmanager
def open_span(
    path: str | Path, start_pts: int, end_pts: int, frame_range: FrameRange | None = None
) -> Iterator[SpanReader]:
    """Open a file for reading the frames with `start_pts` <= PTS < `end_pts`.

    Where `frame_range` says that the file cannot be searched, frames are found by counting, and the
    two are in its finer units. Of a `TrimmedRange`, decoding begins where the clip does.

    Raises:
        VideoError: the span is empty, or the file is no video.
    """
    if end_pts <= start_pts:
        raise VideoError(f"{path}: the span {start_pts}..{end_pts} is empty")
    bounds = (start_pts, end_pts)
    if frame_range is None or not frame_range.clock:
        with open_video(path) as (container, stream):
            yield SpanReader(path, container, stream, bounds, frame_range)
        return
    with _last_cursor.at(path, frame_range.first) as cursor:
        yield SpanReader(path, cursor.container, cursor.stream, bounds, frame_range, cursor)
