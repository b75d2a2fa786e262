"""Describes camera motion in words, from the path that the motion filter measured.

The filter's `pan` and `tilt` are displacements of the image content, right and down, in long sides
of the frame; the camera moves the opposite way. A plane cannot tell a pan from a truck or a zoom
from a push, so the words for rotation and focal length stand for both.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

# Slower motion is not visible: long sides per second, and relative growth per second.
_SPEED, _GROWTH = 0.02, 0.03
# Share of the path that has to go one way to be a move; otherwise the camera is hand-held.
_STEADY = 0.6
_HAND = 0.05
_TRUSTED = 0.5

CAMERA_PHRASES = {
    "still": "stands still",
    "pan left": "pans left",
    "pan right": "pans right",
    "tilt up": "tilts up",
    "tilt down": "tilts down",
    "zoom in": "zooms in",
    "zoom out": "zooms out",
}
"""Motion that can be measured, as the structure calls it -> verb phrase."""

# Sure of a move: this share of the pairs is trusted, and every burst goes the same way at the
# visible speed, their mean at 1.5 times that. Sure of a camera that stands: the mean speed is below
# 0.4 of the visible one, and the bursts do not all drift the same way. Measured on a tripod: mean
# speeds up to 0.007, 0.010 (zoom), single bursts up to 0.016.
_SURE_TRUST = 0.8
_SURE_MOVE, _SURE_STILL, _DRIFT = 1.5, 0.4, 0.15
_LIMITS = {"pan": _SPEED, "tilt": _SPEED, "zoom": _GROWTH, "roll": _GROWTH}
# The camera may move between bursts that are farther apart.
_MAX_UNSEEN_S = 3.0
_MIN_TEXTURED = 0.25  # share of the frame whose motion can be measured


def describe_camera(motion: Mapping[str, Any]) -> str:
    """For example "the camera pans left and zooms in"; "" where nothing was measured.

    Args:
        motion: one clip's evidence of the motion filter. Its displacements are those of the
            image content, so the camera moves the opposite way.
    """
    trust = motion.get("trust") or []
    trusted = [index for index, each in enumerate(trust) if each >= _TRUSTED]
    if not trusted:
        return ""
    gaps = motion["gap_s"]
    pan, tilt, zoom = (
        [motion[name][index] / max(gaps[index], 1e-6) for index in trusted]
        for name in ("pan", "tilt", "zoom")
    )
    moves = [
        *_move(pan, _SPEED, "pan left", "pan right"),
        *_move(tilt, _SPEED, "tilt up", "tilt down"),
        *_move(zoom, _GROWTH, "zoom in", "zoom out"),
    ]
    if moves:
        return f"the camera {' and '.join(CAMERA_PHRASES[move] for move in moves)}"
    speed = sum(abs(p) + abs(t) for p, t in zip(pan, tilt, strict=True)) / len(pan)
    return "the camera is hand-held" if speed > _HAND else "the camera stands still"


def sure_camera_motions(motion: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Motions that are certain, as keys of CAMERA_PHRASES; None where nothing is certain.

    A motion counts if every burst of the clip has it and nearly all pairs of frames are trusted;
    a camera stands still if no burst has any and all of the clip is near one.

    Args:
        motion: one clip's evidence of the motion filter.
    """
    trust = motion.get("trust") or []
    gaps, times = motion.get("gap_s") or [], motion.get("time_s") or []
    if not trust or len(gaps) != len(trust):
        return None
    trusted = [index for index, each in enumerate(trust) if each >= _TRUSTED]
    if len(trusted) < _SURE_TRUST * len(trust):
        return None
    bursts = _bursts(motion, trusted)
    if not bursts or any(not burst for burst in bursts):
        return None
    speeds = {
        name: [_mean([motion[name][i] / max(gaps[i], 1e-6) for i in burst]) for burst in bursts]
        for name in ("pan", "tilt", "zoom")
    }
    moves = tuple(
        move
        for name, least, positive, negative in (
            ("pan", _SPEED, "pan left", "pan right"),
            ("tilt", _SPEED, "tilt up", "tilt down"),
            ("zoom", _GROWTH, "zoom in", "zoom out"),
        )
        if (move := _sure_move(speeds[name], least, positive, negative))
    )
    if moves:
        return moves
    drifts = any(
        _sure_move(speeds[name], _DRIFT * limit / _SURE_MOVE, "drift", "drift")
        for name, limit in _LIMITS.items()
        if name in speeds
    )
    is_still = not drifts and _stands_still(motion, trusted) and _is_covered(times)
    return ("still",) if is_still else None


def _bursts(motion: Mapping[str, Any], trusted: Sequence[int]) -> list[list[int]]:
    """The trusted pairs of each burst; all of them as one where bursts were not recorded."""
    counts = motion.get("pairs") or [len(motion["trust"])]
    known, start, bursts = set(trusted), 0, []
    for count in counts:
        bursts.append([index for index in range(start, start + count) if index in known])
        start += count
    return bursts


def _sure_move(speeds: Sequence[float], least: float, positive: str, negative: str) -> str:
    if abs(_mean(speeds)) < _SURE_MOVE * least:
        return ""
    if all(speed >= least for speed in speeds):
        return positive
    return negative if all(speed <= -least for speed in speeds) else ""


def _stands_still(motion: Mapping[str, Any], trusted: Sequence[int]) -> bool:
    """Whether no trusted pair moves visibly, in a frame with texture to measure it by."""
    if motion.get("textured", 1.0) < _MIN_TEXTURED:
        return False
    return all(
        _mean([abs(motion[name][i]) / max(motion["gap_s"][i], 1e-6) for i in trusted])
        <= _SURE_STILL * limit
        for name, limit in _LIMITS.items()
        if name in motion
    )


def _is_covered(times_s: Sequence[float]) -> bool:
    return all(later - earlier <= _MAX_UNSEEN_S for earlier, later in pairwise(times_s))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _move(speeds: Sequence[float], least: float, positive: str, negative: str) -> list[str]:
    mean = sum(speeds) / len(speeds)
    distance = sum(abs(speed) for speed in speeds) / len(speeds)
    if abs(mean) < least or abs(mean) < _STEADY * distance:
        return []
    return [positive if mean > 0 else negative]
