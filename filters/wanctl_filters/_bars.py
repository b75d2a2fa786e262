"""Finding flat bars around a picture; shared with the filters that must not look at them."""

from dataclasses import dataclass

import numpy as np

SIDES: tuple[str, ...] = ("left", "top", "right", "bottom")
_STEP = 32  # rows looked at in one go; a clip without bars costs one step per side


@dataclass(frozen=True)
class Bar:
    """The flat margin on one side of a clip.

    Attributes:
        width: in pixels of the frames that were looked at; 0 where there is none.
        change: share of positions along the margin's inner edge at which the picture differs from
            the margin in at least one frame. Near 1 for a bar; small for sky or a studio backdrop,
            which end at the outline of a thing and not at a straight line.
        luma: mean luma of the margin, 0..255.
    """

    width: int = 0
    change: float = 0.0
    luma: float = 0.0


def bright_frames(luma: np.ndarray, dark_luma: float) -> np.ndarray:
    """The frames with mean luma of at least `dark_luma`: elsewhere everything looks like a bar."""
    return luma[[float(frame.mean()) >= dark_luma for frame in luma]]


def find_bars(luma: np.ndarray, *, tolerance: float = 4.0) -> dict[str, Bar]:
    """Measure the flat margins, by side, that stay the same over all given frames.

    A row belongs to a bar when in every frame its luma varies by at most `tolerance` (standard
    deviation) along the row and its mean stays within 2 x `tolerance` of the outermost row's.
    Columns likewise. Any colour will do; no side is reported when everything is flat.

    Args:
        luma: (N, H, W) uint8.
        tolerance: luma levels; compression noise in a flat bar has a deviation of 1 to 2.
    """
    widths = dict.fromkeys(SIDES, 0)
    # Twice, each time inside what was found: bars of two colours meet in the corners, where
    # neither is flat over its whole length.
    for side in SIDES + SIDES:
        view = _inward(luma, side, widths)
        widths[side] = _margin(view, tolerance)
        if widths[side] == view.shape[1]:
            return {side: Bar() for side in SIDES}
    return {side: _bar(_inward(luma, side, widths), widths[side], tolerance) for side in SIDES}


def picture_area(luma: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns inside the bars; everything where there are none or all is dark."""
    _, height, width = luma.shape
    bright = bright_frames(luma, 10.0)
    bars = find_bars(bright) if len(bright) else {side: Bar() for side in SIDES}
    cut = {
        side: bar.width + 2 if bar.width and bar.change >= 0.5 else 0 for side, bar in bars.items()
    }
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
    """How many of the first rows of (N, depth, length) are flat, constant and of one colour."""
    depth = view.shape[1]
    level = float(view[:, 0].mean())
    for start in range(0, depth, _STEP):
        rows = view[:, start : start + _STEP].astype(np.float32)
        flat = (rows.std(axis=2) <= tolerance) & (
            np.abs(rows.mean(axis=2) - level) <= 2 * tolerance
        )
        broken = np.flatnonzero(~flat.all(axis=0))
        if len(broken):
            return start + int(broken[0])
    return depth


def _bar(view: np.ndarray, width: int, tolerance: float) -> Bar:
    if width == 0:
        return Bar()
    level = float(view[:, :width].mean())
    # A scaled or compressed edge is soft over 2 to 3 pixels; look a little behind it.
    depth = max(4, view.shape[1] // 100)
    behind = view[:, width : width + depth].astype(np.float32)
    differs = (np.abs(behind - level) > 3 * tolerance).any(axis=(0, 1))
    return Bar(width, round(float(differs.mean()), 4), round(level, 1))
