"""Measures a text track: its ground and its typography."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanctl_filters.ocr.polygons import bounds
from wanctl_filters.ocr.strokes import gap_change, hidden_samples
from wanctl_filters.ocr.tracks import Samples, Track, correlation, region

_SHIFTS = 3  # px, in which the displacement of strokes is searched
_MIN_SPREAD = 5.0  # luma levels around a text from which its transparency can be measured
_GONE = 0.3  # correlation of strokes with what is there afterwards; the same strokes have 0.6
_NO_ONSET = 255.0
_SOBEL = 8.0  # of a step of one level per pixel


class TrackMeasures(NamedTuple):
    """Numbers of one track; see `wanctl_filters.shared.overlay.TRACK_COLUMNS`."""

    around: float
    moving: float
    shift: float
    noise: float
    fade: float
    gaps: float
    hidden: int
    onset: float
    steep: float
    even: float
    contrast: float
    angle: float


def measure_track(samples: Samples, track: Track) -> TrackMeasures:
    """Ground and typography of a track."""
    window, place, ring = _surroundings(samples, track)
    here = samples.luma[track.anchor][window].astype(np.float32)
    others = [index for index in range(track.first, track.last + 1) if index != track.anchor]
    changes = [np.abs(samples.luma[index][window] - here) for index in others]
    lively = float(np.median([change[ring].mean() for change in changes])) if others else 0.0
    moving = [samples.moving(track.anchor, index) for index in others]
    shown = samples.luma[track.first : track.last + 1][:, *window]
    return TrackMeasures(
        around=lively,
        moving=float(np.mean(moving)) if others else 0.0,
        shift=_shift(samples, track),
        noise=float(np.median([np.median(change[ring]) for change in changes])) if others else 0.0,
        fade=_fade(shown, place, ring),
        gaps=gap_change(shown[:, *place]),
        hidden=hidden_samples(shown[:, *place]),
        onset=_onset(samples, track, window, place, ring),
        **_typography(samples, track, here[place]),
    )


def relays(tracks: Sequence[Track]) -> list[int]:
    """For each track: the number of others on its line and centred like it, at other times."""
    boxes = [bounds(track.polygon) for track in tracks]
    counts = []
    for track, box in zip(tracks, boxes, strict=True):
        height = box.bottom - box.top
        counts.append(
            sum(
                (other.last < track.first or other.first > track.last)
                and abs(high.top + high.bottom - box.top - box.bottom) <= height
                and 0.7 * height <= high.bottom - high.top <= height / 0.7
                and abs(high.left + high.right - box.left - box.right) <= 2 * height
                for other, high in zip(tracks, boxes, strict=True)
            )
        )
    return counts


def _fade(levels: np.ndarray, place: tuple[slice, slice], ring: np.ndarray) -> float:
    """How much the strokes change over time, as a share of the change around the text.

    The strokes are the brightest or the darkest pixels of the median over time; opaque text has
    one of the two, or an outline, that never changes.

    Args:
        levels: (N, h, w) uint8 of the samples that show the text.
        place: the text.
        ring: mask of what is around it.
    """
    spread = levels.std(axis=0)
    outside = float(np.median(spread[ring]))
    if outside < _MIN_SPREAD:
        return 0.0
    middle, inside = np.median(levels, axis=0)[place], spread[place]
    low, high = np.percentile(middle, (3, 97))
    room = 0.15 * (high - low)
    bright, dark = inside[middle >= high - room], inside[middle <= low + room]
    return min(float(np.median(bright)), float(np.median(dark))) / outside


def _onset(
    samples: Samples,
    track: Track,
    window: tuple[slice, slice],
    place: tuple[slice, slice],
    ring: np.ndarray,
) -> float:
    """Change around a text between a sample that shows it and the next that does not."""
    steps = []
    for shown, gone in ((track.first, track.first - 1), (track.last, track.last + 1)):
        if not 0 <= gone < len(samples):
            continue
        change = np.abs(samples.luma[gone][window].astype(np.float32) - samples.luma[shown][window])
        # a line that is half covered or half drawn is neither there nor gone
        if (
            correlation(samples.edges(shown)[window][place], samples.edges(gone)[window][place])
            < _GONE
        ):
            steps.append(float(change[ring].mean()))
    return min(steps, default=_NO_ONSET)


def _surroundings(
    samples: Samples, track: Track
) -> tuple[tuple[slice, slice], tuple[slice, slice], np.ndarray]:
    """A window half a line wider than the text, the text in it, and the mask of the rest of it."""
    height, width = samples.luma.shape[1:]
    rows, columns = region(track.polygon, (height, width))
    pad = max(4, min(rows.stop - rows.start, columns.stop - columns.start) // 2)
    top, left = max(0, rows.start - pad), max(0, columns.start - pad)
    bottom, right = min(height, rows.stop + pad), min(width, columns.stop + pad)
    place = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    ring = np.ones((bottom - top, right - left), dtype=bool)
    ring[place] = False
    if not ring.any():  # the text fills the frame
        ring[:] = True
    return (slice(top, bottom), slice(left, right)), place, ring


def _shift(samples: Samples, track: Track) -> float:
    """Displacement in pixels of the strokes between the first and the last sample of a track."""
    import cv2

    if track.first == track.last:
        return 0.0
    rows, columns = region(track.polygon, samples.luma.shape[1:])
    strokes = samples.edges(track.first)[rows, columns]
    padded = cv2.copyMakeBorder(
        samples.edges(track.last), _SHIFTS, _SHIFTS, _SHIFTS, _SHIFTS, cv2.BORDER_REPLICATE
    )
    room = 2 * _SHIFTS
    window = padded[rows.start : rows.stop + room, columns.start : columns.stop + room]
    match = cv2.matchTemplate(window, strokes, cv2.TM_CCOEFF_NORMED)
    _, _, _, (x, y) = cv2.minMaxLoc(match)
    return float(np.hypot(_peak(match[y], x) - _SHIFTS, _peak(match[:, x], y) - _SHIFTS))


def _peak(values: np.ndarray, at: int) -> float:
    """Place of a maximum to a fraction of a step, by a parabola through its neighbours."""
    if at in (0, len(values) - 1):
        return float(at)
    before, peak, after = (float(value) for value in values[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return at + 0.5 * (before - after) / bend if bend < 0 else float(at)


def _typography(samples: Samples, track: Track, levels: np.ndarray) -> dict[str, float]:
    place = region(track.polygon, samples.luma.shape[1:])
    low, high = np.percentile(levels, (3, 97))
    contrast = max(float(high - low), 1.0)
    height, width = levels.shape
    along = 1 if width >= height else 0
    count = min(8, max(3, round(max(height, width) / max(1, min(height, width)))))
    parts = [part for part in np.array_split(levels, count, axis=along) if part.size]
    bright = float(np.std([np.percentile(part, 95) for part in parts]))
    dark = float(np.std([np.percentile(part, 5) for part in parts]))
    steep = float(np.percentile(samples.edges(track.anchor)[place], 90)) / _SOBEL / contrast
    return {"steep": steep, "even": min(bright, dark), "contrast": contrast, "angle": _angle(track)}


def _angle(track: Track) -> float:
    """Degrees between the longest side of a polygon and the nearest axis."""
    points = np.asarray(track.polygon, dtype=np.float64).reshape(-1, 2)
    sides = np.roll(points, -1, axis=0) - points
    across, down = sides[np.argmax(np.hypot(*sides.T))]
    degrees = float(np.degrees(np.arctan2(abs(down), abs(across))))
    return min(degrees, 90.0 - degrees)
