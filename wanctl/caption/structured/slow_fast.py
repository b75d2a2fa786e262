"""The frames of a clip as a model sees them: some in full, others at a quarter of the pixels."""

import math

import cv2
import numpy as np

from wanctl.video.frames import FrameBatch, FrameSpec
from wanctl.vlm.chat import Frames

EVERY = 4
"""Every fourth frame is shown in full, as in the captioner of Wan (arXiv 2503.20314, section 3.2).

That model pools the tokens of the other frames to one each; an open model has no such input, but
takes frames of two sizes."""


def frame_spec(fps: float, max_frames: int, max_pixels: int, width: int, height: int) -> FrameSpec:
    """The frames to decode of a clip.

    Args:
        fps: frames a second.
        max_frames: of a clip at most.
        max_pixels: of a frame at most.
        width: of the clip, display pixels.
        height: of the clip, display pixels.
    """
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    long_side = max(1, math.floor(max(width, height) * scale))
    return FrameSpec(fps=fps, max_count=max_frames, long_side_px=long_side)


def chat_frames(batch: FrameBatch, *, slow_fast: bool) -> Frames:
    """Decoded frames for a request; a single one has no time, as it is a picture.

    Args:
        batch: (N, H, W, 3) uint8 RGB frames.
        slow_fast: keep every fourth frame from the first on, and halve the sides of the others by
            averaging.
    """
    images = tuple(batch.frames)
    if slow_fast:
        # copies: a view would keep all of the decoded frames in memory
        images = tuple(
            frame.copy() if index % EVERY == 0 else _halved(frame)
            for index, frame in enumerate(images)
        )
    times_s = tuple(float(time) for time in batch.times_s) if len(images) > 1 else ()
    return Frames(images, times_s)


def _halved(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    size = (max(1, round(width / 2)), max(1, round(height / 2)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
