"""Frame sampling: the times that a spec requests, matched to the frames of one decoding pass."""

import math

import numpy as np

from wanctl.video.frames import FrameSpec

# Containers with millisecond ticks round PTS by up to half a millisecond; without the slack a
# frame that is 0.3 ms late would be replaced by the one before it.
SLACK_S = 1e-3


class FrameSampler:
    """Decides for each frame of a clip, in order of time, whether a spec samples it.

    A sample is the frame displayed at its time. Samples that fall on the same frame count once,
    so a clip never gives more frames than it has. A burst begins with such a sample and continues
    with the frames that follow.
    """

    def __init__(self, spec: FrameSpec, duration_s: float) -> None:
        self._times = sample_times(spec, duration_s)
        self._burst, self._gap_s = spec.burst, spec.burst_gap_s
        self._next = 0
        self._left = 0
        self._taken_s = -math.inf

    def samples(self, time_s: float, until_s: float) -> bool:
        """Whether the frame displayed from `time_s` until `until_s` is sampled."""
        before = self._next
        while self._next < len(self._times) and self._times[self._next] + SLACK_S < until_s:
            self._next += 1
        if self._next > before:
            # overlapping bursts become one long burst
            self._left = self._burst
        elif not self._left or time_s + SLACK_S < self._taken_s + self._gap_s:
            return False
        self._left -= 1
        self._taken_s = time_s
        return True


def num_frames_at(fps: float, duration_s: float) -> int:
    """Number of frames of a span that is resampled to `fps`; at least one."""
    return max(1, math.ceil((duration_s - SLACK_S) * fps))


def num_frames_at_many(fps: float, duration_s: np.ndarray) -> np.ndarray:
    """(N,) int64 `num_frames_at` of (N,) durations in seconds."""
    return np.maximum(1, np.ceil((duration_s - SLACK_S) * fps)).astype(np.int64)


def sample_times(spec: FrameSpec, duration_s: float) -> np.ndarray:
    """(N,) times at which a spec samples, in seconds from the clip's start."""
    count = spec.count
    if spec.fps is not None:
        fitting = num_frames_at(spec.fps, duration_s)
        if spec.max_count is None or fitting <= spec.max_count:
            return np.arange(fitting) / spec.fps
        count = spec.max_count
    assert count is not None
    middles = (np.arange(count) + 0.5) / count * duration_s
    return np.maximum(middles - (spec.burst - 1) * spec.burst_gap_s / 2, 0.0)
