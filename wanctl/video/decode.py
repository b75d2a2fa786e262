"""What filters, captioners and exports read of a clip, each in one sequential pass."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanctl.video.frame_sampling import SLACK_S, FrameSampler, num_frames_at, num_frames_at_many
from wanctl.video.frames import Box, FrameBatch, FrameSpec
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
    with open_span(path, start_pts, end_pts) as span:
        takers = [_Taker(spec, span.duration_s, width, height) for spec in specs]
        for frame, time_s, until_s in span.frames():
            converted: dict[_Look, np.ndarray] = {}
            for taker in takers:
                if taker.wants(time_s, until_s):
                    look = taker.look
                    if look not in converted:
                        converter = span.converter(frame)
                        converted[look] = converter.convert(
                            frame, *look.size, color=look.color, how=look.how
                        )
                    taker.take(converted[look], time_s)
    return [taker.batch(width) for taker in takers]


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
    with open_span(path, start_pts, end_pts) as span:
        count = _count(path, span, fps, frames)
        video: np.ndarray | None = None
        for index, picture in enumerate(_resample(span, fps, count, (height, width), crop)):
            if video is None:
                video = np.empty((count, *picture.shape), dtype=np.uint8)
            video[index] = picture
    assert video is not None
    return video


def read_frames(path: str | Path, pts: Sequence[int]) -> np.ndarray:
    """Single pictures as they are: (N, height, width, 3) uint8 RGB, upright, square pixels.

    Args:
        path: the file.
        pts: their times, rising.

    Raises:
        VideoError: a picture is not there any more.
    """
    wanted, found = set(pts), []
    with open_span(path, pts[0], pts[-1] + 1) as span:
        for frame, _, _ in span.frames():
            if frame.pts in wanted:
                found.append(span.converter(frame).convert(frame, *span.size, how="BICUBIC"))
    if len(found) != len(wanted):
        raise VideoError(f"{path}: {len(wanted) - len(found)} pictures are gone; it has changed")
    return np.stack(found)


def iter_window(
    path: str | Path,
    start_pts: int,
    end_pts: int,
    *,
    fps: float,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
) -> Iterator[np.ndarray]:
    """The pictures of `read_window` one by one, so that a long span needs no memory.

    `size` is (height, width).
    """
    with open_span(path, start_pts, end_pts) as span:
        count = _count(path, span, fps, frames)
        yield from _resample(span, fps, count, size or (None, None), crop)


def _count(path: str | Path, span: SpanReader, fps: float, frames: int | None) -> int:
    available = num_frames_at(fps, span.duration_s)
    if frames is not None and frames > available:
        raise VideoError(
            f"{path}: {frames} frames at {fps:g} fps asked for, the span of "
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
        picture = None
        while taken < count and taken / fps + SLACK_S < until_s:
            if picture is None:
                whole = span.converter(frame).convert(frame, *span.size, how="BICUBIC")
                picture = _cut(whole, crop, *size)
            yield picture
            taken += 1
        if taken == count:
            return


class _Look(NamedTuple):
    """Readers that want the same picture alike share it."""

    size: tuple[int, int]
    color: str
    how: str


class _Taker:
    """Collects one reader's pictures as they go by."""

    def __init__(self, spec: FrameSpec, duration_s: float, width: int, height: int) -> None:
        size = fit_long_side(width, height, spec.long_side_px)
        self.look = _Look(size, spec.color, SCALING[spec.scaling])
        self._moments = FrameSampler(spec, duration_s)
        self._frames: list[np.ndarray] = []
        self._times: list[float] = []

    def wants(self, time_s: float, until_s: float) -> bool:
        """Whether the reader gets the picture on screen between these times."""
        return self._moments.wants(time_s, until_s)

    def take(self, picture: np.ndarray, time_s: float) -> None:
        self._frames.append(picture)
        self._times.append(time_s)

    def batch(self, display_width: int) -> FrameBatch:
        return FrameBatch(
            np.stack(self._frames), np.array(self._times), self.look.size[0] / display_width
        )


def _cut(
    picture: np.ndarray, crop: Box | None, height: int | None, width: int | None
) -> np.ndarray:
    """The crop of a picture, resized to cover (height, width)."""
    rows, columns = picture.shape[:2]
    box = crop or Box(0, 0, columns, rows)
    if min(box) < 0 or not box.width or not box.height:
        raise VideoError(f"crop {tuple(box)} has no area or begins outside the picture")
    if box.x + box.width > columns or box.y + box.height > rows:
        raise VideoError(f"crop {tuple(box)} reaches outside the {columns}x{rows} picture")
    if height is None or width is None:
        return picture[box.y : box.y + box.height, box.x : box.x + box.width]
    return _cover(picture, box, height, width)


def _cover(picture: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Cut the largest centred rectangle of the wanted shape out of `box` and resize it."""
    import cv2  # noqa: PLC0415  0.1 s and 300 MB of address space that scanning does without

    scale = min(box.width / width, box.height / height)
    cut_width = min(box.width, max(1, round(width * scale)))
    cut_height = min(box.height, max(1, round(height * scale)))
    x = box.x + (box.width - cut_width) // 2
    y = box.y + (box.height - cut_height) // 2
    part = picture[y : y + cut_height, x : x + cut_width]
    # averaging is right for shrinking and blocky for enlarging
    how = cv2.INTER_AREA if scale >= 1 else cv2.INTER_CUBIC
    return cv2.resize(part, (width, height), interpolation=how)
