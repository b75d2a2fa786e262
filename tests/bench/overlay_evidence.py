"""Synthetic evidence of `watermark` and `ocr`, with the mix that web footage has.

One source in ten has a mark, three clips in ten suspect some shape of their scene, and one clip in
five has text: mostly signs, some subtitles.
"""

from typing import Any

import numpy as np
import pyarrow as pa

GRID = (320, 180)
_MARKED, _SUSPECTING, _LETTERED, _OVERLAID = 0.1, 0.3, 0.2, 0.3
_BLOCKS, _TRACKS, _FRAMES = 18, 3, 6
_PLACE = 270 | 10 << 16 | 30 << 32 | 16 << 48


def watermark_columns(source: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    """Columns of `watermark` for (N,) rising numbers of the clips' sources."""
    count, first = len(source), int(source[0])
    own = source - first
    marked = (random.random(own[-1] + 1) < _MARKED)[own]
    suspecting = marked | (random.random(count) < _SUSPECTING)
    # a graphic that is a mark, and one that is not steady enough
    mark = np.array([270, 10, 30, 16, 180, 9900, 450, 180, 0, 0])
    other = np.array([100, 60, 40, 30, 260, 6000, 300, 110, 9000, 0])
    graphics = np.where(marked[suspecting, None], mark, other)
    at_random = random.integers(-(2**62), 2**62, (count, _BLOCKS)) & random.integers(
        -(2**62), 2**62, (count, _BLOCKS)
    )
    of_mark = random.integers(-(2**62), 2**62, (own[-1] + 1, _BLOCKS))[own]
    corner = np.arange(_BLOCKS) // 6 * 40 + np.arange(_BLOCKS) % 6
    blocks = np.where(
        marked, 34, random.integers(0, 34, count) + 40 * random.integers(0, 18, count)
    )
    places = np.where(marked, _PLACE, random.integers(0, 280, count) | 20 << 32 | 16 << 48)
    return {
        "grid": _lists(np.tile(GRID, (count, 1)), np.ones(count, bool)),
        "graphics": _lists(graphics, suspecting),
        "suspects": _lists(np.stack([places, at_random[:, 0]], axis=1)[suspecting], suspecting),
        "blocks": _lists((blocks[:, None] + corner)[suspecting], suspecting),
        "bits": _lists(np.where(marked[:, None], of_mark, at_random)[suspecting], suspecting),
        "scene": _lists(random.integers(-(2**62), 2**62, (count, 8)), np.ones(count, bool)),
        "moving": np.round(random.random(count), 4),
    }


def ocr_columns(
    width: np.ndarray, height: np.ndarray, random: np.random.Generator
) -> dict[str, Any]:
    """Columns of `ocr` for clips of (N,) widths and heights."""
    count = len(width)
    lettered = random.random(count) < _LETTERED
    rows = np.flatnonzero(lettered)
    overlaid = (random.random(len(rows)) < _OVERLAID)[:, None].repeat(_TRACKS, axis=1)
    tracks = overlaid.shape
    left = random.uniform(0.1, 0.6, tracks) * width[rows, None]
    top = np.where(overlaid, 0.88, random.uniform(0.1, 0.7, tracks)) * height[rows, None]
    right, low = left + 0.15 * width[rows, None], top + 0.03 * height[rows, None]
    corners = np.stack([left, top, right, top, right, low, left, low], axis=2).round(1)
    first = np.tile(np.arange(_TRACKS) * 2.0, (len(rows), 1))
    columns = {
        "corners": corners.reshape(len(rows), -1),
        "plates": np.zeros((len(rows), 4 * _TRACKS)),
        "first_s": first,
        "last_s": first + 1.5,
        "matches": np.full(tracks, 5),
        "around": np.where(overlaid, 20.0, 1.0),
        "moving": np.where(overlaid, 0.8, 0.2),
        "shift": np.where(overlaid, 0.05, 2.0),
        "noise": np.full(tracks, 2.0),
        "fade": np.full(tracks, 0.05),
        "gaps": np.where(overlaid, 20.0, 1.0),
        "hidden": np.zeros(tracks, int),
        "onset": np.full(tracks, 255.0),
        "steep": np.full(tracks, 0.3),
        "even": np.where(overlaid, 2.0, 20.0),
        "contrast": np.where(overlaid, 190.0, 70.0),
        "angle": np.full(tracks, 0.5),
        "relay": np.zeros(tracks, int),
        "tried": np.ones(tracks, int),
    }  # fmt: skip
    words = pa.array(random.choice(["EXIT", "MARKET", "he said so", "one more"], overlaid.size))
    ends = np.concatenate([[0], np.cumsum(lettered * _TRACKS)]).astype(np.int32)
    empty = pa.array([[]] * count, pa.list_(pa.string()))
    return {
        "polygons": _polygons(corners.reshape(-1, 8), lettered),
        "texts": empty,
        "samples": np.full(count, 2 * _FRAMES),
        **{f"track_{name}": _lists(values, lettered) for name, values in columns.items()},
        "track_texts": pa.ListArray.from_arrays(pa.array(ends), words),
    }


def _polygons(corners: np.ndarray, lettered: np.ndarray) -> pa.ListArray:
    """`_FRAMES` frames a clip; in those of lettered clips, the polygons of its tracks."""
    every = np.repeat(corners.reshape(-1, 1, _TRACKS, 8), _FRAMES, axis=1).reshape(-1)
    points = pa.ListArray.from_arrays(
        pa.array(np.arange(len(every) // 8 + 1, dtype=np.int32) * 8), pa.array(every)
    )
    sizes = np.repeat(lettered * _TRACKS, _FRAMES)
    frames = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)), points
    )
    starts = np.arange(len(lettered) + 1, dtype=np.int32) * _FRAMES
    return pa.ListArray.from_arrays(pa.array(starts), frames)


def _lists(rows: np.ndarray, present: np.ndarray) -> pa.ListArray:
    """Rows of a matrix where they are present, empty lists elsewhere."""
    starts = np.concatenate([[0], np.cumsum(present * rows.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(rows.reshape(-1)))
