"""Which pictures of a clip a reader gets: the times a spec asks for, matched as pictures pass."""

import math

import numpy as np

from wanctl.video.frames import FrameSpec

# Containers with millisecond ticks round PTS by up to half a millisecond; without the slack a
# picture that is 0.3 ms late would lose its place to the one before it.
SLACK_S = 1e-3


class FrameSampler:
    """Says of each picture of a clip, in order of time, whether a spec wants it.

    A sample is the picture on screen at its moment. Samples that fall on the same picture count
    once, so a clip never gives more pictures than it has. A burst begins with such a sample and
    goes on with the pictures that follow.
    """

    def __init__(self, spec: FrameSpec, duration_s: float) -> None:
        self._times = _times(spec, duration_s)
        self._burst, self._gap_s = spec.burst, spec.burst_gap_s
        self._next = 0
        self._left = 0
        self._taken_s = -math.inf

    def wants(self, time_s: float, until_s: float) -> bool:
        """Whether the picture shown from `time_s` until `until_s` is to be taken."""
        before = self._next
        while self._next < len(self._times) and self._times[self._next] + SLACK_S < until_s:
            self._next += 1
        if self._next > before:
            # where bursts run into each other they make one long one
            self._left = self._burst
        elif not self._left or time_s + SLACK_S < self._taken_s + self._gap_s:
            return False
        self._left -= 1
        self._taken_s = time_s
        return True


def num_frames_at(fps: float, duration_s: float) -> int:
    """How many pictures a span gives when it is resampled to `fps`; at least one."""
    return max(1, math.ceil((duration_s - SLACK_S) * fps))


def num_frames_at_many(fps: float, duration_s: np.ndarray) -> np.ndarray:
    """The same for (N,) durations."""
    return np.maximum(1, np.ceil((duration_s - SLACK_S) * fps)).astype(np.int64)


def _times(spec: FrameSpec, duration_s: float) -> np.ndarray:
    """Seconds from the clip's start at which a spec samples."""
    count = spec.count
    if spec.fps is not None:
        fitting = num_frames_at(spec.fps, duration_s)
        if spec.max_count is None or fitting <= spec.max_count:
            return np.arange(fitting) / spec.fps
        count = spec.max_count
    assert count is not None
    middles = (np.arange(count) + 0.5) / count * duration_s
    return np.maximum(middles - (spec.burst - 1) * spec.burst_gap_s / 2, 0.0)
