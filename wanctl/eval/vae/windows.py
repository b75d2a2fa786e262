"""Reads the frames that VAEs are compared on: a window of each clip, in decode workers.

Free of torch, because workers import it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import islice, pairwise

import numpy as np

from wanctl.video.decode import iter_window, num_frames_at
from wanctl.video.footage import scan_source
from wanctl.video.frames import Box, FrameRange, Span
from wanctl.video.opening import VideoError
from wanctl.video.scanning.results import Scan

# Smaller pictures have nothing that a perceptual network or SSIM could look at.
MIN_SIDE_PX = 32


@dataclass(frozen=True)
class WindowOptions:
    """Which frames of a clip are compared, and at which size.

    Attributes:
        frames: number of frames, 4n+1.
        fps: frame rate; that of the footage where it has less.
        size_px: larger footage is scaled down until its shorter side is this.
        multiple: sides are cropped at the centre to multiples of this.
    """

    frames: int
    fps: float
    size_px: int
    multiple: int


@dataclass(frozen=True)
class Clip:
    """One clip that VAEs are compared on.

    Attributes:
        name: unique among the clips of a run.
        source: file or URL.
        identity: changes when the content of the source does.
        span: where the clip is in its source; None: the longest piece of the file without a break.
        crop: the part of the frame that is used; None: all of it.
        fps: frame rate of the source where `span` is set.
        size: (width, height) of the frame where `span` is set.
        duration_s: of `span`.
    """

    name: str
    source: str
    identity: str
    span: Span | None = None
    crop: Box | None = None
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    duration_s: float = 0.0

    def key(self, options: WindowOptions) -> str:
        """12 hex digits that decide the frames, whatever the clip is called."""
        values = [self.source, self.identity, self.span, self.crop, asdict(options)]
        return hashlib.sha256(json.dumps(values, default=asdict).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Window:
    """Frames of a clip.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        fps: their frame rate.
        full_size: (width, height) before the crop to multiples.
    """

    frames: np.ndarray
    fps: float
    full_size: tuple[int, int]


def read_window(clip: Clip, options: WindowOptions) -> Window:
    """Decode the window in the middle of a clip. Runs in a worker.

    Raises:
        VideoError: the clip is no video, too short or too small; says what is needed.
        SourceError: the source cannot be read.
    """
    if clip.span is None:
        scan, _ = scan_source(clip.source, options.fps)
        fps = min(options.fps, scan.info.fps)
        span, skipped = _middle_of_file(clip, scan, fps, options.frames)
        size = (scan.info.width, scan.info.height)
    else:
        span, size, fps = clip.span, clip.size, min(options.fps, clip.fps)
        available = num_frames_at(fps, clip.duration_s)
        _check_length(clip, available, fps, options.frames)
        skipped = (available - options.frames) // 2
    box = clip.crop or Box(0, 0, *size)
    target, full_size = _target(box, options)
    if min(target) < max(MIN_SIDE_PX, options.multiple):
        least = max(MIN_SIDE_PX, options.multiple)
        raise VideoError(
            f"{clip.source}: {full_size[0]}x{full_size[1]} px are too small; need at least "
            f"{least}x{least}"
        )
    scaled = full_size != (box.width, box.height)
    frames = iter_window(
        clip.source,
        *span.pts,
        fps=fps,
        frames=skipped + options.frames,
        size=(target[1], target[0]) if scaled else None,
        crop=box if scaled else _centre(box, target),
        frame_range=span.frame_range,
    )
    return Window(np.stack(list(islice(frames, skipped, None))), fps, full_size)


def _check_length(clip: Clip, available: int, fps: float, frames: int) -> None:
    if available < frames:
        raise VideoError(
            f"{clip.source}: has {available} frames at {fps:g} fps; need {frames}: choose fewer "
            "with --frames, or longer clips"
        )


def _middle_of_file(clip: Clip, scan: Scan, fps: float, frames: int) -> tuple[Span, int]:
    """The middle of the longest piece of a file without a break, and 0 frames to skip."""
    first, end = _longest_piece(scan)
    tick_s = scan.info.time_base[0] / scan.info.time_base[1]
    end_pts = int(scan.pts[end - 1] + scan.durations[end - 1])
    duration_s = (end_pts - int(scan.pts[first])) * tick_s
    _check_length(clip, num_frames_at(fps, duration_s), fps, frames)
    latest = int(scan.pts[first]) + (duration_s - frames / fps) / 2 / tick_s
    start = max(first, int(np.searchsorted(scan.pts[:end], latest, side="right")) - 1)
    counted = FrameRange(scan.info.clock, start, end - start) if scan.info.clock else None
    return Span((int(scan.pts[start]), end_pts), counted), 0


def _longest_piece(scan: Scan) -> tuple[int, int]:
    """(first frame, end) of the most frames in a row that are whole and follow one another."""
    count = len(scan.pts)
    unfit = scan.unfit if len(scan.unfit) else np.zeros(count, dtype=bool)
    breaks = scan.breaks if len(scan.breaks) else np.zeros(count, dtype=bool)
    edges = np.flatnonzero(breaks | unfit | np.roll(unfit, 1))
    bounds = np.unique([0, *edges.tolist(), count])
    pieces = [(a, b) for a, b in pairwise(bounds.tolist())]
    return max((p for p in pieces if not unfit[p[0]]), key=lambda p: p[1] - p[0], default=(0, 1))


def _target(box: Box, options: WindowOptions) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) of the window, and what they are before the crop to multiples."""
    scale = min(1.0, options.size_px / min(box.width, box.height))
    width, height = round(box.width * scale), round(box.height * scale)
    multiple = options.multiple
    return (width // multiple * multiple, height // multiple * multiple), (width, height)


def _centre(box: Box, size: tuple[int, int]) -> Box:
    """The rectangle of a size in the middle of another."""
    width, height = size
    return Box(box.x + (box.width - width) // 2, box.y + (box.height - height) // 2, width, height)
