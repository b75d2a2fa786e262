"""What the camera does, in words, from the path that the motion filter measured."""

from collections.abc import Mapping, Sequence
from typing import Any

# Slower than this nobody sees it: long sides per second, and growth per second.
_SPEED, _GROWTH = 0.02, 0.03
# A move goes one way; what goes to and fro is a hand.
_STEADY = 0.6
_HAND = 0.05
_TRUSTED = 0.5


def camera_words(motion: Mapping[str, Any]) -> str:
    """For example "the camera pans left and zooms in"; "" where nothing was measured.

    Args:
        motion: one clip's evidence of the motion filter. Its displacements are those of the
            picture, so the camera goes the other way.
    """
    trust = motion.get("trust") or []
    sound = [index for index, each in enumerate(trust) if each >= _TRUSTED]
    if not sound:
        return ""
    gaps = motion["gap_s"]
    pan, tilt, zoom = (
        [motion[name][index] / max(gaps[index], 1e-6) for index in sound]
        for name in ("pan", "tilt", "zoom")
    )
    moves = [
        *_move(pan, _SPEED, "pans left", "pans right"),
        *_move(tilt, _SPEED, "tilts up", "tilts down"),
        *_move(zoom, _GROWTH, "zooms in", "zooms out"),
    ]
    if moves:
        return f"the camera {' and '.join(moves)}"
    speed = sum(abs(p) + abs(t) for p, t in zip(pan, tilt, strict=True)) / len(pan)
    return "the camera is hand-held" if speed > _HAND else "the camera stands still"


def _move(speeds: Sequence[float], least: float, positive: str, negative: str) -> list[str]:
    mean = sum(speeds) / len(speeds)
    way = sum(abs(speed) for speed in speeds) / len(speeds)
    if abs(mean) < least or abs(mean) < _STEADY * way:
        return []
    return [positive if mean > 0 else negative]
