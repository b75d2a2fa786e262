"""Detects bars filled with a blurred copy of the frame, as used for vertical video in wide frames.

Such bars move and have no uniform colour; they are recognised by a lack of sharp detail and by a
straight edge.
"""

from dataclasses import dataclass, replace

import numpy as np

from wanctl_filters.shared.bars import SIDES

_DEEPEST = 0.45  # share of the side that one of the two bars may take
_SLACK = 2  # lines by which the two may differ
_WINDOW = 12  # lines behind an edge that give the usual change from line to line
_CAP = 16  # levels; a straight edge is weak but long, an object's outline strong but short
_MIN_SIDE_PX = 16  # OpenCV crashes on empty slices of smaller frames
_MIN_USUAL = 0.5  # levels, mean change from line to line; compression causes as much
_NEAR = 4  # lines on either side of an edge whose texture is compared
_MIN_TEXTURE = 0.3  # levels, mean step from pixel to pixel; the least after compression
_DIFFERENT = 8  # levels
_MOST = 10.0  # cap of the texture ratio


@dataclass(frozen=True)
class SoftBar:
    """A soft margin on one side of a clip.

    Attributes:
        width: in pixels; 0 where there is none.
        contrast: how much stronger the change across the edge is than between the lines behind it,
            times how much more texture there is behind it. Measured 25 and more for bars, 16 and
            less for anything else; the same for both bars of a pair.
        change: share of positions along the edge at which the active area differs from the bar in
            at least one frame; small at the outline of an object before a plain background.
    """

    width: int = 0
    contrast: float = 0.0
    change: float = 0.0


def find_soft_bars(luma: np.ndarray) -> dict[str, SoftBar]:
    """Measure the soft margins by side; empty for frames too small to have texture.

    Args:
        luma: (N, H, W) uint8.
    """
    _, height, width = luma.shape
    if min(height, width) < _MIN_SIDE_PX:
        return {}
    # only the middle of the other direction, as bars may be on all sides; every second line
    rows, columns = slice(height // 5, height - height // 5), slice(width // 5, width - width // 5)
    upright, level = luma[:, rows][:, ::2], luma[:, :, columns][:, :, ::2]
    left, right = _pair(*_profiles(upright, along=1))
    top, bottom = _pair(*_profiles(level, along=2))
    sideways, downward = upright.transpose(0, 2, 1), level
    bars = (
        replace(left, change=_change(sideways, left.width)),
        replace(top, change=_change(downward, top.width)),
        replace(right, change=_change(sideways[:, ::-1], right.width)),
        replace(bottom, change=_change(downward[:, ::-1], bottom.width)),
    )
    return dict(zip(SIDES, bars, strict=True))


def _change(view: np.ndarray, width: int) -> float:
    """`SoftBar.change` from a view (N, depth, length) that walks inward."""
    if not 2 <= width <= view.shape[1] - 3:
        return 0.0
    bar = view[:, width - 2].astype(np.int16)
    behind = np.abs(view[:, width : width + 3].astype(np.int16) - bar[:, None])
    return round(float((behind > _DIFFERENT).any(axis=(0, 1)).mean()), 4)


def _profiles(luma: np.ndarray, along: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean steps within each line, and from each line to the next.

    Args:
        luma: (N, H, W) uint8.
        along: the axis along the lines: 1 for columns, 2 for rows.
    """
    within = _mean_step(luma, along, along)
    return within, _mean_step(luma, 3 - along, along)


def _mean_step(luma: np.ndarray, axis: int, along: int) -> np.ndarray:
    """Mean over frames and axis `along` of the absolute difference along `axis`."""
    import cv2

    total = 0.0
    for frame in luma:
        first = frame[:-1] if axis == 1 else frame[:, :-1]
        second = frame[1:] if axis == 1 else frame[:, 1:]
        step = cv2.absdiff(np.ascontiguousarray(first), np.ascontiguousarray(second))
        step = cv2.min(step, _CAP)  # type: ignore[call-overload]
        total = total + cv2.reduce(step, along - 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    return np.asarray(total) / len(luma)


def _pair(texture: np.ndarray, change: np.ndarray) -> tuple[SoftBar, SoftBar]:
    """The bars at both ends of the profiles of one direction; both or neither are bars.

    `change[k]` is from line k to line k + 1.
    """
    deepest = int(_DEEPEST * len(texture))
    if deepest < 2 * _WINDOW:
        return SoftBar(), SoftBar()
    first = _edges(texture, change)[:deepest]
    second = _edges(texture[::-1], change[::-1])[:deepest]
    shifted = np.pad(second, _SLACK, constant_values=0)
    near = np.lib.stride_tricks.sliding_window_view(shifted, 2 * _SLACK + 1)
    both = np.minimum(first, near.max(axis=1))
    edge = int(np.argmax(both))
    other = edge - _SLACK + int(np.argmax(near[edge]))
    bars = np.concatenate([texture[:edge], texture[len(texture) - other :]])
    inner = texture[edge + 2 : len(texture) - other - 2]
    if not len(bars) or not len(inner):
        return SoftBar(), SoftBar()
    ratio = float(inner.mean() / max(bars.mean(), _MIN_TEXTURE))
    contrast = round(float(both[edge]) * min(ratio, _MOST), 3)
    return SoftBar(edge + 1, contrast), SoftBar(other + 1, contrast)


def _edges(texture: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Score of each line as the last of a bar: change after it times gain in texture."""
    window = np.lib.stride_tricks.sliding_window_view
    usual = np.median(window(change[2:], _WINDOW), axis=1)
    steps = change[: len(usual)] / np.maximum(usual, _MIN_USUAL)
    before = np.pad(texture, (_NEAR, 0), mode="edge")
    before = window(before, _NEAR).mean(axis=1)[: len(usual)]
    after = window(texture[2:], _NEAR).mean(axis=1)[: len(usual)]
    return steps * np.clip(after / np.maximum(before, _MIN_TEXTURE), 0, _MOST)
