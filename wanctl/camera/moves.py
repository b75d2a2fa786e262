"""MOVES: camera paths by name.

A move's amount is that over the whole video at speed 1. Lengths are in the units of the published
preset paths, in which 80 frames of 1/54 are 1.48; orbits and dolly zooms keep the point `DISTANCE`
away in place. Moves add up: each is applied in the frame of the camera as the moves before it left
it.

Shapes: F frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wanctl.camera.paths import DISTANCE, CameraPath, default_lenses, rotations
from wanctl.errors import UserError, unknown

LENGTH = 80 / 54
"""A translation over the whole video."""
TURN, ROLL, ARC = np.radians(30.0), np.radians(45.0), np.radians(60.0)
MAX_ZOOM = 1.6


@dataclass(frozen=True)
class Move:
    """One move of the camera.

    Attributes:
        name: a row of MOVES.
        speed: factor of its amount; may be above 1.
    """

    name: str
    speed: float = 1.0


@dataclass
class _State:
    """What a move changes: (F, 4, 4) poses and (F,) factors of the focal length."""

    poses: np.ndarray
    focal: np.ndarray


Apply = Callable[[_State, np.ndarray, float], None]
"""(state, (F,) share of the video that has passed, signed speed)."""


def _turn(axis: int, amount: float) -> Apply:
    def apply(state: _State, at: np.ndarray, speed: float) -> None:
        vectors = np.zeros((len(at), 3))
        vectors[:, axis] = amount * speed * at
        state.poses[:, :3, :3] = state.poses[:, :3, :3] @ rotations(vectors)

    return apply


def _shift(axis: int) -> Apply:
    def apply(state: _State, at: np.ndarray, speed: float) -> None:
        step = np.zeros((len(at), 3))
        step[:, axis] = LENGTH * speed * at
        state.poses[:, :3, 3] += np.einsum("fij,fj->fi", state.poses[:, :3, :3], step)

    return apply


def _orbit(amount: float, axis: int = 1) -> Apply:
    """Around the point DISTANCE in front of the camera."""

    def apply(state: _State, at: np.ndarray, speed: float) -> None:
        vectors = np.zeros((len(at), 3))
        vectors[:, axis] = -amount * speed * at
        turns = rotations(vectors)
        centre = np.array([0.0, 0.0, DISTANCE])
        step = centre - turns @ centre
        state.poses[:, :3, 3] += np.einsum("fij,fj->fi", state.poses[:, :3, :3], step)
        state.poses[:, :3, :3] = state.poses[:, :3, :3] @ turns

    return apply


def _zoom(state: _State, at: np.ndarray, speed: float) -> None:
    state.focal *= MAX_ZOOM ** (speed * at)


def _crane(state: _State, at: np.ndarray, speed: float) -> None:
    """Up while the camera keeps looking at the point DISTANCE in front of it."""
    rise = LENGTH * speed * at
    _shift(1)(state, at, -speed)
    vectors = np.zeros((len(at), 3))
    vectors[:, 0] = -np.arctan2(rise, DISTANCE)
    state.poses[:, :3, :3] = state.poses[:, :3, :3] @ rotations(vectors)


def _dolly_zoom(state: _State, at: np.ndarray, speed: float) -> None:
    """Forward, with a wider lens, so that what is DISTANCE away keeps its size."""
    forward = 0.5 * DISTANCE * speed * at
    step = np.stack([0 * at, 0 * at, forward], axis=1)
    state.poses[:, :3, 3] += np.einsum("fij,fj->fi", state.poses[:, :3, :3], step)
    state.focal *= np.maximum(DISTANCE - forward, 0.1) / DISTANCE


# name -> (what it does, its sign). Directions are those of the camera: after `pan-left` the picture
# shows what was to the left of it.
_PAIRS: dict[str, tuple[Apply, float]] = {
    "pan-right": (_turn(1, TURN), 1), "pan-left": (_turn(1, TURN), -1),
    "tilt-up": (_turn(0, TURN), 1), "tilt-down": (_turn(0, TURN), -1),
    "roll-right": (_turn(2, ROLL), 1), "roll-left": (_turn(2, ROLL), -1),
    "right": (_shift(0), 1), "left": (_shift(0), -1),
    "down": (_shift(1), 1), "up": (_shift(1), -1),
    "in": (_shift(2), 1), "out": (_shift(2), -1),
    "zoom-in": (_zoom, 1), "zoom-out": (_zoom, -1),
    "orbit-right": (_orbit(2 * np.pi), 1), "orbit-left": (_orbit(2 * np.pi), -1),
    "arc-right": (_orbit(ARC), 1), "arc-left": (_orbit(ARC), -1),
    "crane-up": (_crane, 1), "crane-down": (_crane, -1),
    "dolly-zoom-in": (_dolly_zoom, 1), "dolly-zoom-out": (_dolly_zoom, -1),
}  # fmt: skip
MOVES = tuple(_PAIRS)


def path_of_moves(moves: Sequence[Move], frames: int) -> CameraPath:
    """The path of moves that all last the whole video.

    Args:
        moves: applied in this order.
        frames: of the video.

    Raises:
        UserError: `camera.moves: message`; there is no such move.
    """
    at = np.linspace(0, 1, frames)
    state = _State(np.tile(np.eye(4), (frames, 1, 1)), np.ones(frames))
    for move in moves:
        if move.name not in _PAIRS:
            raise UserError(f"camera.moves: {unknown('move', move.name, MOVES)}")
        apply, sign = _PAIRS[move.name]
        apply(state, at, sign * move.speed)
    lenses = default_lenses(frames)
    lenses[:, :2] *= state.focal[:, None]
    return CameraPath(state.poses, lenses)
