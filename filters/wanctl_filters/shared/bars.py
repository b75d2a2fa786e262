"""Finds flat bars around the active area of frames, and that area."""

from dataclasses import dataclass

import numpy as np

SIDES: tuple[str, ...] = ("left", "top", "right", "bottom")
_STEPS = (4, 28, 32)  # lines per step
_BLOCK = 16  # noise is averaged over this many pixels along a line before it is called uneven
_GRAIN = 3.0  # grain of this many tolerances is allowed in a bar
_RINGING = 8  # lines before the edge in which strong compression may ring
_SOFT_LINES = 3  # width of a scaled or compressed edge
_REACH = 24  # lines behind the edge that are compared with the bar


@dataclass(frozen=True)
class Bar:
    """The flat margin on one side of a clip.

    Attributes:
        width: in pixels of the measured frames; 0 where there is none.
        change: share of positions along the margin's inner edge at which the active area differs
            from the margin in at least one frame. Near 1 for a bar; small for sky or a studio
            backdrop, which end at the outline of an object and not at a straight line, and for a
            shadow, which has a soft edge.
        luma: mean luma of the margin, 0..255.
        uneven: range of the luma along the margin, in levels, averaged over frames, lines and
            `_BLOCK` pixels. A drawn bar has at most 0.3 after compression, or 2.5 where it is only
            a few pixels wide; a pictured surface (sky, wall, bezel) has 1 and more.
        drift: standard deviation of its mean luma over the frames; 0 to 0.1 for a bar.
    """

    width: int = 0
    change: float = 0.0
    luma: float = 0.0
    uneven: float = 0.0
    drift: float = 0.0


def bright_frames(luma: np.ndarray, dark_luma: float) -> np.ndarray:
    """The frames with a mean luma of at least `dark_luma`; bars cannot be found in darker ones."""
    # every fourth line and column is enough for a mean
    bright = luma[:, ::4, ::4].mean(axis=(1, 2)) >= dark_luma
    return luma if bright.all() else luma[bright]


def find_bars(luma: np.ndarray, *, tolerance: float = 4.0) -> dict[str, Bar]:
    """Measure the flat margins, by side, that are constant over all frames.

    A row belongs to a bar when in every frame its luma, averaged over short stretches, varies by
    at most `tolerance` (standard deviation) along the row and its mean stays within 2 x
    `tolerance` of the outermost row's. Columns likewise. Any colour will do; no side is reported
    when everything is flat.

    Args:
        luma: (N, H, W) uint8.
        tolerance: luma levels; compression noise in a flat bar has a deviation of 1 to 2.
    """
    widths = dict.fromkeys(SIDES, 0)
    # A second pass inside the bars of the first: bars of two colours overlap in the corners, where
    # neither is flat over its full length.
    for number, side in enumerate(SIDES + SIDES):
        if number == len(SIDES) and not any(widths.values()):
            return {side: Bar() for side in SIDES}
        view = _inward(luma, side, widths)
        if not view.size:  # a frame of a few pixels
            return {side: Bar() for side in SIDES}
        widths[side] = _margin(view, tolerance)
        if widths[side] == view.shape[1]:
            return {side: Bar() for side in SIDES}
    return {side: _bar(_inward(luma, side, widths), widths[side], tolerance) for side in SIDES}


def active_area(luma: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns inside the bars; the full frame where there are none or all is dark."""
    _, height, width = luma.shape
    bright = bright_frames(luma, 10.0)
    bars = find_bars(bright) if len(bright) else {side: Bar() for side in SIDES}
    cut = {
        side: bar.width + 2 if bar.width and bar.change >= 0.5 else 0 for side, bar in bars.items()
    }
    if cut["top"] + cut["bottom"] >= height or cut["left"] + cut["right"] >= width:
        cut = dict.fromkeys(SIDES, 0)
    return slice(cut["top"], height - cut["bottom"]), slice(cut["left"], width - cut["right"])


def _inward(luma: np.ndarray, side: str, widths: dict[str, int]) -> np.ndarray:
    """A view (N, depth, length) that walks inward from `side`, without the neighbouring bars."""
    _, height, width = luma.shape
    if side in ("top", "bottom"):
        view = luma[:, :, widths["left"] : width - widths["right"]]
    else:
        view = luma[:, widths["top"] : height - widths["bottom"]].transpose(0, 2, 1)
    return view if side in ("left", "top") else view[:, ::-1]


def _margin(view: np.ndarray, tolerance: float) -> int:
    """Number of the first rows of (N, depth, length) that are flat, constant and of one colour."""
    depth = view.shape[1]
    if _unevenness(view[:1, :1].astype(np.float32)).item() > tolerance:
        return 0  # most sides have no bar, and one line of one frame shows it
    level = float(view[:, 0].mean())
    start = 0
    for step in (*_STEPS, *[_STEPS[-1]] * (depth // _STEPS[-1])):
        rows = view[:, start : start + step].astype(np.float32)
        if not rows.shape[1]:
            break
        broken = np.flatnonzero(~_flat(rows, level, tolerance).all(axis=0))
        if len(broken):
            return start + int(broken[0])
        start += step
    return depth


def _flat(rows: np.ndarray, level: float, tolerance: float) -> np.ndarray:
    """(N, rows) bool: which rows of (N, rows, length) are even and of the given level."""
    even = _unevenness(rows) <= tolerance
    return even & (np.abs(rows.mean(axis=2) - level) <= 2 * tolerance)


def _unevenness(rows: np.ndarray) -> np.ndarray:
    """(N, rows) standard deviation along (N, rows, length) float32 rows, in levels, less grain."""
    length = rows.shape[2]
    covered = length // _BLOCK * _BLOCK
    even = rows.std(axis=2)
    if covered < 4 * _BLOCK:
        return even
    blocks = rows[:, :, :covered].reshape(*rows.shape[:2], -1, _BLOCK).mean(axis=3)
    return np.maximum(blocks.std(axis=2), even / _GRAIN)


def _bar(view: np.ndarray, width: int, tolerance: float) -> Bar:
    if width == 0:
        return Bar()
    level = float(view[:, :width].mean())
    uneven, drift = _constancy(view[:, : max(1, width - _SOFT_LINES)])
    # From a few lines before the edge, as ringing and soft lines belong to the bar.
    first = max(1, width - 4)
    behind = np.abs(view[:, first : width + _REACH].astype(np.float32) - level)
    profile = behind.mean(axis=(0, 2))
    start = width - first
    full = float(np.median(profile[start + 2 :])) if len(profile) > start + 2 else 0.0
    edges = (
        place
        for place in range(min(start + _RINGING + 1, len(profile) - 1))
        if profile[place] >= 0.4 * full and profile[place] >= 0.7 * profile[place + 1]
    )
    edge = next(edges, None)
    if edge is None:  # a soft end: shadow, skyline
        return Bar(width, 0.0, round(level, 1), uneven, drift)
    near = behind[:, edge : edge + 4]
    rise = float(profile[min(edge + 1, len(profile) - 1)] - profile[max(0, edge - _SOFT_LINES)])
    sharp = bool(near.size) and (edge == 0 or rise >= 0.6 * full)
    differs = (near > 3 * tolerance).any(axis=(0, 1)).mean() if sharp else 0.0
    return Bar(first + edge, round(float(differs), 4), round(level, 1), uneven, drift)


def _constancy(margin: np.ndarray) -> tuple[float, float]:
    """`Bar.uneven` and `Bar.drift` of (N, lines, length) uint8, without the soft inner lines."""
    per_frame = margin.mean(axis=1, dtype=np.float32)
    length = per_frame.shape[1]
    along = per_frame.mean(axis=0)
    if length >= 2 * _BLOCK:
        along = along[: length // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=1)
    return round(float(np.ptp(along)), 3), round(float(per_frame.mean(axis=1).std()), 3)
