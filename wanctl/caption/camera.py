"""Describes camera motion in words, from the path that the motion filter measured."""

from collections.abc import Mapping, Sequence
from typing import Any

# Slower motion is not visible: long sides per second, and relative growth per second.
_SPEED, _GROWTH = 0.02, 0.03
# Share of the path that has to go one way to be a move; otherwise the camera is hand-held.
_STEADY = 0.6
_HAND = 0.05
_TRUSTED = 0.5


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
    distance = sum(abs(speed) for speed in speeds) / len(speeds)
    if abs(mean) < least or abs(mean) < _STEADY * distance:
        return []
    return [positive if mean > 0 else negative]
