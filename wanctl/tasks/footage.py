"""Frames of a source video at the frame rate of the output."""

import numpy as np

from wanctl.tasks.inputs import SourceVideo

SLACK_S = 1e-3


def frames_held(video: SourceVideo, fps: float) -> int:
    """Frames at a rate that a video lasts for."""
    starts = video.starts_s
    return int((starts[-1] - starts[0] + SLACK_S) * fps) + 1


def shown_frames(video: SourceVideo, fps: float, frames: int) -> list[int]:
    """Index of the video's frame that is shown at the time of each output frame."""
    starts = video.starts_s
    times = starts[0] + np.arange(frames) / fps
    return np.maximum(np.searchsorted(starts, times + SLACK_S, side="right") - 1, 0).tolist()
