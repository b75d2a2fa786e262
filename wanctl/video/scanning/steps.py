"""Steps of the clock where a part of a container is missing without a trace.

A Matroska cluster or an mp4 fragment that is cut out leaves nothing that FFmpeg reports: the frames
behind it follow, later. Steps are everywhere in footage with a variable rate, and a camera drops
single frames; but most clusters and fragments begin with a key frame, and so does what is recorded
after a pause, and no camera drops many frames in a row.
"""

import numpy as np

# Longer than this many usual distances: at least one frame is not there.
STEP_FACTOR = 1.5
# Behind a step so long, absolutely and in usual distances, the frame need not be a key frame.
LONG_S, LONG_FACTOR = 0.25, 5.0
# The rate is constant where so many of the distances are within so much of the usual one.
_STEADY_SHARE, _STEADY_WITHIN = 0.95, 0.25
# With more key frames than this, they say nothing.
_MAX_KEYS = 0.34


def find_steps(pts: np.ndarray, is_key: np.ndarray, tick_s: float) -> np.ndarray:
    """(N,) bool: frames of footage with a constant rate that come too late.

    Args:
        pts: (N,) int64, strictly rising.
        is_key: (N,) bool, frames that need no other.
        tick_s: seconds per unit of `pts`.
    """
    none = np.zeros(len(pts), dtype=bool)
    if len(pts) < 3:
        return none
    steps = np.diff(pts)
    usual = np.median(steps)
    steady = np.abs(steps - usual) <= _STEADY_WITHIN * usual
    if steady.mean() < _STEADY_SHARE:
        return none
    late = np.concatenate([[False], steps > STEP_FACTOR * usual + 1])  # coarse clocks round
    long = np.concatenate([[False], steps > max(LONG_S / tick_s, LONG_FACTOR * usual)])
    return long | (late & is_key) if is_key.mean() <= _MAX_KEYS else long
