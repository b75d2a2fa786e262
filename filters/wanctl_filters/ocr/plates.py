"""The plate that a text is printed on: the red bar of a news banner, the strip of a scoreboard."""

import numpy as np

from wanctl_filters.ocr.tracks import Samples, Track, region

_REACH = 0.75  # times the height of the text; the plate of a line leaves less room than a line
_STEP = 8  # luma levels from row to row
_SHARE = 0.85  # of the text's width; edges along the tops of letters reach 0.6
_STILL = 4.0  # luma levels of change over time; coding reaches 3
_RINGING = 0.2  # of the change of the ground


def plate(samples: Samples, track: Track) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the plate under a text; zeros where there is none.

    A plate ends above and below the text where the picture begins to change over time, or at
    straight edges that run along the text and stand still with it. It reaches as far to the sides
    as that holds.
    """
    rows, columns = region(track.polygon, samples.luma.shape[1:])
    reach = int(_REACH * (rows.stop - rows.start))
    top, bottom = max(0, rows.start - reach), min(samples.luma.shape[1], rows.stop + reach)
    # the detector's margin may reach over a narrow plate, which then ends within it
    inset = (rows.stop - rows.start) // 5
    inner = slice(rows.start + inset - top, rows.stop - inset - top)
    found = _still_area(_still(samples, track, top, bottom), inner, columns)
    if found is None:
        found = _between_edges(_edges(samples, track, top, bottom), inner, columns)
    if found is None:
        return 0.0, 0.0, 0.0, 0.0
    left, high, right, low = found
    return float(left), float(top + high), float(right), float(top + low)


def _still(samples: Samples, track: Track, top: int, bottom: int) -> np.ndarray:
    """(rows, W) bool: pixels that do not change while the text is shown."""
    here = samples.luma[track.anchor, top:bottom].astype(np.float32)
    others = [index for index in range(track.first, track.last + 1) if index != track.anchor]
    if not others:
        return np.zeros(here.shape, dtype=bool)
    change = np.mean([np.abs(samples.luma[index, top:bottom] - here) for index in others], axis=0)
    # ringing reaches into a small plate where the ground changes a lot
    return change < max(_STILL, _RINGING * float(np.percentile(change, 75)))


def _edges(samples: Samples, track: Track, top: int, bottom: int) -> np.ndarray:
    """(rows, W) bool: horizontal edges that have one sign in all samples.

    Row i is the edge between rows i and i + 1, or spread over the two next to it.
    """
    steps = [
        np.diff(samples.luma[index, top:bottom].astype(np.int16), axis=0)
        for index in (track.first, track.anchor, track.last)
    ]
    signs = [np.logical_and.reduce([sign * step >= _STEP for step in steps]) for sign in (1, -1)]
    edges = signs[0] | signs[1]
    return edges[:-1] | edges[1:]


def _still_area(
    still: np.ndarray, inner: slice, columns: slice
) -> tuple[int, int, int, int] | None:
    share = still[:, columns].mean(axis=1)
    moving = np.flatnonzero(share < _SHARE)
    above, below = moving[moving < inner.stop], moving[moving >= inner.start]
    if not len(above) or not len(below) or above[-1] >= inner.start or below[0] < inner.stop:
        return None
    high, low = int(above[-1]) + 1, int(below[0])
    left, right = _reach_sideways(still[high:low].mean(axis=0) >= _SHARE, columns)
    return left, high, right, low


def _between_edges(
    edges: np.ndarray, inner: slice, columns: slice
) -> tuple[int, int, int, int] | None:
    share = edges[:, columns].mean(axis=1)
    above = np.flatnonzero(share[: inner.start] >= _SHARE)
    below = inner.stop + np.flatnonzero(share[inner.stop :] >= _SHARE)
    if not len(above) or not len(below):
        return None
    high, low = int(above[-1]), int(below[0])
    left, right = _reach_sideways(edges[high] & edges[low], columns)
    return left, high + 1, right, low + 1


def _reach_sideways(holds: np.ndarray, columns: slice) -> tuple[int, int]:
    """How far the columns around a text hold, from the left to the right end."""
    gaps = np.flatnonzero(~holds)
    left, right = gaps[gaps < columns.start], gaps[gaps >= columns.stop]
    return int(left[-1]) + 1 if len(left) else 0, int(right[0]) if len(right) else len(holds)
