"""Reads videos that a user names, in a worker process, since decoders may hang or crash."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from wanctl.tasks.inputs import SourceVideo
from wanctl.video.decode import read_frames
from wanctl.video.footage import scan_source
from wanctl.video.frames import FrameRange
from wanctl.video.stream import VideoError
from wanctl.video.workers.worker_pool import DecodePool, Failure

# Bytes of frames decoded per call: memory stays bounded for videos of any length.
BLOCK_BYTES = 192 * 2**20
SCAN_FPS = 1.0


class VideoReader:
    """Runs functions on a video in a worker process, which ends with this object.

    Args:
        timeout_s: seconds that a call may take.
        memory_bytes: address space of the worker.
    """

    def __init__(self, timeout_s: float, memory_bytes: int) -> None:
        self._pool = DecodePool(1, timeout_s, memory_bytes)  # starts at the first call
        weakref.finalize(self, self._pool.close)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and return its result.

        Raises:
            VideoError: it failed; one line with the reason.
        """
        [(_, result)] = self._pool.map(function, [arguments])
        if isinstance(result, Failure):
            raise VideoError(result.message)
        return result


class LazyFrames(Sequence[np.ndarray]):
    """The frames of a video, decoded in blocks on access."""

    def __init__(
        self,
        source: str,
        pts: Sequence[int],
        clock: str,
        size: tuple[int, int],
        reader: VideoReader,
    ) -> None:
        self._source, self._pts, self._clock, self._reader = source, pts, clock, reader
        self._per_block = max(1, BLOCK_BYTES // (3 * size[0] * size[1]))
        self._block, self._first = np.empty(0), 0

    def __len__(self) -> int:
        return len(self._pts)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """One frame (H, W, 3) uint8, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if not self._first <= index < self._first + len(self._block):
            self._first = index
            block = self._pts[index : index + self._per_block]
            frame_range = FrameRange(self._clock, index, len(block))
            self._block = self._reader.call(read_frames, self._source, block, frame_range)
        return self._block[index - self._first]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))


def open_source_video(source: str, reader: VideoReader) -> SourceVideo:
    """Open a video for lazy decoding.

    Args:
        source: path or URL.
        reader: decodes it.

    Raises:
        VideoError: missing, damaged or not a video.
    """
    scanned, _ = reader.call(scan_source, source, SCAN_FPS)
    info = scanned.info
    tick_s = info.time_base[0] / info.time_base[1]
    starts = (scanned.pts - scanned.pts[0]) * tick_s
    size = (info.height, info.width)
    pictures = LazyFrames(source, scanned.pts.tolist(), info.clock, size, reader)
    # before a gap, the last frame stays on screen
    held = np.append(np.diff(scanned.pts), scanned.durations[-1])
    return SourceVideo(pictures, starts, starts + held * tick_s, source, size)


def image_as_video(image: np.ndarray, name: str) -> SourceVideo:
    """An image (H, W, 3) as a video of one frame."""
    height, width = image.shape[:2]
    return SourceVideo([image], np.zeros(1), np.ones(1), name, (height, width))
