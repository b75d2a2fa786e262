"""Detects black bars that carry a title, subtitles or a logo, which are not flat as a whole."""

import numpy as np

from wanctl_filters.shared.bars import SIDES, Bar

_DEEPEST = 0.4  # share of the side that one of the two bars may take
_BLOCK = 16  # pixels along a line that are averaged
_BLACK = 24.0  # luma up to which a bar is black
_DIFFERENT = 8.0  # levels
_CLEAN, _CLEAN_LINES = 0.1, 3  # share of the blocks that may differ in the last lines of a bar
_FULL, _FULL_LINES = 0.5, 16  # and that must differ in the first lines of the picture
_EDGE_LINES = 3  # width of a scaled or compressed edge
_SLACK = 4  # lines by which the two bars may differ


def find_written_bars(luma: np.ndarray, bars: dict[str, Bar]) -> list[int]:
    """Width in pixels of the black bars on each of `SIDES`; 0 where there is none.

    The outermost lines must be black and flat, the last lines before the edge as well, and the
    frame must begin on a straight line at the same depth on both sides. What is between may be
    anything.

    Args:
        luma: (N, H, W) uint8.
        bars: flat margins, by side.
    """
    found = dict.fromkeys(SIDES, 0)
    for first, second in (("left", "right"), ("top", "bottom")):
        pair = (bars[first], bars[second])
        equal = abs(pair[0].width - pair[1].width) <= _SLACK
        edged = max(bar.change for bar in pair) >= _FULL
        if (equal and edged) or any(bar.width < 2 or bar.luma > _BLACK for bar in pair):
            continue
        view = luma if first == "top" else luma.transpose(0, 2, 1)
        edges = _edges(view), _edges(view[:, ::-1])
        for depth in np.flatnonzero(edges[0])[::-1]:
            other = np.flatnonzero(edges[1][max(0, depth - _SLACK) : depth + _SLACK + 1])
            if len(other):
                found[first] = int(depth)
                found[second] = int(max(0, depth - _SLACK) + other[-1])
                break
    return [found[side] for side in SIDES]


def _edges(view: np.ndarray) -> np.ndarray:
    """(depth,) bool: whether the picture begins at each line of a view (N, depth, length)."""
    _, depth, length = view.shape
    depth, length = int(_DEEPEST * depth), length // _BLOCK * _BLOCK
    if depth < _FULL_LINES or not length:
        return np.zeros(0, bool)
    blocks = view[:, :depth, :length].reshape(len(view), depth, -1, _BLOCK)
    level = float(view[:, :2].mean())
    differs = np.abs(blocks.mean(axis=3, dtype=np.float32) - level) > _DIFFERENT
    share = differs.any(axis=0).mean(axis=1)
    edges = np.zeros(depth, bool)
    for line in range(_CLEAN_LINES, depth - _FULL_LINES - _EDGE_LINES):
        behind = share[line + _EDGE_LINES : line + _EDGE_LINES + _FULL_LINES]
        edges[line] = (
            share[line - _CLEAN_LINES : line].max() <= _CLEAN
            and share[line] > _CLEAN
            and behind.min() >= _FULL
        )
    return edges
