"""Random shapes that move through a window: masks of regions to generate.

A shape is drawn once, on a small square canvas, and placed in every frame by a turn, a scale and a
position that change smoothly, as an object's would. White (255) is generated.

Shapes: T frames, H/W pixels.
"""

from collections.abc import Callable

import cv2
import numpy as np

# Side of the canvas on which a shape is drawn, pixels.
_CANVAS = 192
# The centre of a moving shape stays this far, as a share of the side, from the frame's border.
_MARGIN = 0.15
# Share of shapes that stand still, as a logo or a person who talks does.
_STILL = 0.25
_MAX_TURN_DEG = 40.0
_MAX_GROWTH = 1.3
# Of the centre in one frame, as a share of the frame's side: short windows see a part of a motion.
_MAX_SPEED = 0.03


def moving_shape(
    size: tuple[int, int, int], shape: str, area: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Masks of one shape over time.

    Args:
        size: (T, H, W).
        shape: a row of SHAPES.
        area: bounds of its area as a share of the frame, in its middle scale and wholly inside it.
        rng: source of all that is random.

    Returns:
        (T, H, W) uint8, 0 or 255.
    """
    frames, height, width = size
    stamp = SHAPES[shape](rng)
    centre = np.argwhere(stamp)[:, ::-1].mean(axis=0)
    share = rng.uniform(*area)
    scale = np.sqrt(share * height * width / np.count_nonzero(stamp))
    times = np.linspace(0, 1, frames)
    moves = rng.random() >= _STILL and frames > 1
    x, y = (_path(times, rng, moves=moves) * side for side in (width, height))
    turn = rng.uniform(-180, 180) + _between(times, _MAX_TURN_DEG, rng, moves=moves)
    turn *= shape not in UPRIGHT
    growth = np.exp(_between(times, np.log(_MAX_GROWTH), rng, moves=moves))
    # shapes are squares on their canvas; here they become as wide as a box of any aspect ratio
    aspect = np.exp(rng.uniform(-0.5, 0.5))
    masks = np.empty(size, np.uint8)
    for t in range(frames):
        placed = _placement(centre, x[t], y[t], turn[t], scale * growth[t], aspect)
        cv2.warpAffine(stamp, placed, (width, height), dst=masks[t], flags=cv2.INTER_LINEAR)
    return (masks > 127).astype(np.uint8) * 255


def _path(times: np.ndarray, rng: np.random.Generator, *, moves: bool) -> np.ndarray:
    """(T,) positions in [0, 1] through three random points, a parabola in between."""
    start, *others = rng.uniform(_MARGIN, 1 - _MARGIN, 3)
    if not moves:
        return np.full(len(times), start)
    reach = min(1.0, _MAX_SPEED * len(times))
    via, end = (start + reach * (other - start) for other in others)
    curve = start * (1 - times) ** 2 + 2 * via * times * (1 - times) + end * times**2
    return curve.clip(_MARGIN, 1 - _MARGIN)


def _between(
    times: np.ndarray, most: float, rng: np.random.Generator, *, moves: bool
) -> np.ndarray:
    """(T,) values from one random number between -most and most to another; 0 without motion."""
    start, end = rng.uniform(-most, most, 2)
    return (start + (end - start) * times) * moves


def _placement(
    centre: np.ndarray, x: float, y: float, turn_deg: float, scale: float, aspect: float
) -> np.ndarray:
    """(2, 3) affine map from the canvas to a frame, which takes `centre` to (x, y)."""
    angle, stretch = np.deg2rad(turn_deg), np.sqrt(aspect)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turned @ np.diag([stretch, 1 / stretch])
    return np.column_stack((linear, np.array([x, y]) - linear @ centre))


def _box(rng: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    canvas = _blank()
    edge = _CANVAS // 6
    canvas[edge:-edge, edge:-edge] = 255
    return canvas


def _ellipse(rng: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    centre = (_CANVAS // 2, _CANVAS // 2)
    return cv2.circle(_blank(), centre, _CANVAS // 3, 255, cv2.FILLED)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _blob(rng: np.random.Generator) -> np.ndarray:
    """An outline whose radius is a sum of four random waves around the centre."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = np.arange(1, 5)
    heights, phases = rng.uniform(0, 0.35, 4) / waves**0.5, rng.uniform(0, 2 * np.pi, 4)
    radius = 1 + (heights[:, None] * np.sin(waves[:, None] * angles + phases[:, None])).sum(0)
    radius *= 0.45 * _CANVAS / radius.max()
    points = _CANVAS / 2 + radius[:, None] * np.column_stack((np.cos(angles), np.sin(angles)))
    return cv2.fillPoly(_blank(), [points.round().astype(np.int32)], 255)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _strokes(rng: np.random.Generator) -> np.ndarray:
    """A thick line that wanders, as a hand paints over what is to go."""
    canvas = _blank()
    inside = (0.2 * _CANVAS, 0.8 * _CANVAS)
    point, heading = rng.uniform(*inside, 2), rng.uniform(0, 2 * np.pi)
    width = int(rng.integers(_CANVAS // 12, _CANVAS // 6))
    for _ in range(int(rng.integers(4, 9))):
        heading += rng.uniform(-1.2, 1.2)
        step = rng.uniform(0.1, 0.3) * _CANVAS
        to = (point + step * np.array([np.cos(heading), np.sin(heading)])).clip(*inside)
        ends = [tuple(int(v) for v in p) for p in (point, to)]
        cv2.line(canvas, ends[0], ends[1], 255, width, cv2.LINE_8)  # pyright: ignore[reportCallIssue, reportArgumentType]
        point = to
    return canvas


def _blank() -> np.ndarray:
    return np.zeros((_CANVAS, _CANVAS), np.uint8)


SHAPES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "box": _box,
    "ellipse": _ellipse,
    "blob": _blob,
    "strokes": _strokes,
}
# Boxes are what people draw with two clicks: their sides are those of the frame.
UPRIGHT = ("box",)
