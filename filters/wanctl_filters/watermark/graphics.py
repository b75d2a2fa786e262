"""Finds drawn graphics among the steady edges of a clip: lettering, badges, inset pictures.

Three properties separate them from the scene, each by a factor on footage of many kinds:

* they are compact and full of edges, where an object's outline is a sparse line;
* their edges are sharp, where those of a scene are softened by focus, motion and lens;
* hardly any other edge of the frame is as steady, unless it belongs to another graphic. With a
  still camera everything is steady: then nothing is found.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanctl.curate.api import Box
from wanctl_filters.watermark.edge_maps import EdgeMaps

# A mark that touches steady edges of the scene may be separate at a higher level of steadiness.
LEVELS = (0.55, 0.62, 0.7, 0.8, 0.88, 0.94, 0.97, 0.985, 0.993)
MIN_CELLS, _MIN_SIDE = 24, 4
_MAX_AREA = 0.25  # of the frame
# What is stored is looser than what is accepted, see `marks`.
_MIN_DENSITY, _MIN_CONTRAST, _MIN_SHARPNESS, _MAX_OTHERS = 0.15, 15.0, 0.7, 0.02
_MAX_STORED = 32
# What a second picture may confirm: fainter, whatever else of the frame is steady.
_SUSPECT_CELLS, _SUSPECT_CONTRAST, _SUSPECT_SHARPNESS = 40, 10.0, 1.0
_SUSPECT_WIDTH, _SUSPECT_HEIGHT = 0.6, 0.5  # of the frame; some touch an edge of the scene
_MAX_SUSPECTED = 1500  # cells
# With a still camera a mark touches edges as steady as its own, but seldom as sharp and strong.
_CONTRASTS, _BUSY = (32.0, 48.0, 64.0), 0.1
# Graphics that account for steady edges: lettering and panels, which are low.
_PANEL_HEIGHT, _PANEL_DENSITY, _PANEL_CONTRAST, _PANEL_SHARPNESS = 0.2, 0.4, 25.0, 1.0
_MARGIN = 4  # cells around a graphic that are accounted for by it
# Titles and subtitles: wider than a mark may be. Their words are no marks of their own.
_LINE_WIDTH, _LINE_HEIGHT = 0.45, 0.15
COLUMNS = 10


class Graphic(NamedTuple):
    """A cluster of steady edges.

    Attributes:
        box: in cells of the grid.
        cells: number of its edge cells.
        steadiness: median over them of the share of their energy that never changes, 0..1.
        contrast: mean strength of its edges, in levels.
        sharpness: mean of `EdgeMaps.curvature` over mean strength: 1 for a step, 2 for strokes.
        others: share of the frame's edges that are as steady, outside this and other graphics.
        in_line: whether it is part of a wide line of text.
    """

    box: Box
    cells: int
    steadiness: float
    contrast: float
    sharpness: float
    others: float
    in_line: bool

    @property
    def density(self) -> float:
        """Edge cells per cell of the box; edges reach one cell beyond it."""
        return self.cells / (self.box.width * self.box.height)


def pack(graphics: Sequence[Graphic]) -> list[int]:
    """`COLUMNS` whole numbers per graphic; `unpack` is the inverse up to rounding."""
    return [
        number
        for each in graphics
        for number in (
            *each.box,
            each.cells,
            round(1e4 * each.steadiness),
            round(10 * each.contrast),
            round(100 * each.sharpness),
            round(1e6 * each.others),
            int(each.in_line),
        )
    ]


def unpack(numbers: np.ndarray) -> list[Graphic]:
    """The graphics of one clip from their stored numbers."""
    return [
        Graphic(Box(*row[:4]), row[4], row[5] / 1e4, row[6] / 10, row[7] / 100, row[8] / 1e6,
                bool(row[9]))
        for row in numbers.reshape(-1, COLUMNS).tolist()
    ]  # fmt: skip


class Found(NamedTuple):
    """What is found in a clip or in the scenes of a source.

    Attributes:
        graphics: clusters that may be marks, at every level of steadiness; they may overlap.
        suspects: (box, rising cells) of the clusters that are marks if other pictures have them.
    """

    graphics: list[Graphic]
    suspects: list[tuple[Box, np.ndarray]]


def find_graphics(maps: EdgeMaps) -> Found:
    """Find graphics among the steady edges of a clip."""
    height, width = maps.energy.shape
    flat = maps.strong(LEVELS[0])
    if len(flat) < MIN_CELLS:
        return Found([], [])
    rows, columns = np.divmod(flat, width)
    cells = _Cells(
        flat,
        rows,
        columns,
        maps.steadiness.ravel()[flat],
        maps.strength.ravel()[flat],
        maps.curvature(flat),
    )
    found: list[tuple[float, Graphic]] = []
    suspects: list[tuple[Graphic, np.ndarray]] = []
    remaining = cells
    for level in LEVELS:
        remaining = remaining.chosen(remaining.steadiness >= level)
        if len(remaining.flat) < MIN_CELLS:
            break
        for graphic, own in _clusters(remaining, (height, width)):
            if graphic.contrast >= _MIN_CONTRAST:
                found.append((level, graphic))
            if _is_suspect(graphic, (height, width)):
                suspects.append((graphic, own))
    for contrast in _CONTRASTS if len(flat) > _BUSY * maps.energy.size else ():
        strong = cells.chosen(
            (cells.strength >= contrast**2) & (cells.curvature >= _MIN_SHARPNESS * cells.strength)
        )
        suspects += [
            each
            for each in _clusters(strong, (height, width))
            if _is_suspect(each[0], (height, width))
        ]
    return Found(_with_others(found, cells, maps), _densest(suspects))


def _with_others(
    found: Sequence[tuple[float, Graphic]], cells: "_Cells", maps: EdgeMaps
) -> list[Graphic]:
    """The graphics that are steadier than most of the frame, with `others` and `in_line`."""
    height, width = maps.energy.shape
    lines = [
        graphic.box
        for level, graphic in found
        if level <= LEVELS[2]
        and graphic.box.width > _LINE_WIDTH * width
        and graphic.box.height <= _LINE_HEIGHT * height
    ]
    rows, columns = cells.rows, cells.columns
    explained = np.zeros(len(rows), dtype=bool)
    for _, graphic in found:
        if _is_panel(graphic, height):
            explained |= _near(rows, columns, graphic.box)
    rows, columns, steady = rows[~explained], columns[~explained], cells.steadiness[~explained]
    graphics = []
    for _, graphic in found:
        others = steady >= graphic.steadiness
        own = np.count_nonzero(_near(rows[others], columns[others], graphic.box))
        share = (np.count_nonzero(others) - own) / max(1, maps.edges)
        if share <= _MAX_OTHERS:
            in_line = any(_overlap(graphic.box, line) for line in lines)
            graphics.append(graphic._replace(others=share, in_line=in_line))
    graphics.sort(key=lambda each: (each.others, -each.density))
    return graphics[:_MAX_STORED]


def _densest(
    suspects: Sequence[tuple[Graphic, np.ndarray]],
) -> list[tuple[Box, np.ndarray]]:
    """The densest suspects, until they have enough cells; each box once."""
    taken: dict[Box, np.ndarray] = {}
    count = 0
    for graphic, own in sorted(suspects, key=lambda each: -each[0].density):
        if graphic.box not in taken and count + len(own) <= _MAX_SUSPECTED:
            taken[graphic.box] = own
            count = len(np.unique(np.concatenate(list(taken.values()))))
    return list(taken.items())


def _is_suspect(graphic: Graphic, shape: tuple[int, int]) -> bool:
    height, width = shape
    return (
        graphic.cells >= _SUSPECT_CELLS
        and graphic.sharpness >= _SUSPECT_SHARPNESS
        and graphic.box.width <= _SUSPECT_WIDTH * width
        and graphic.box.height <= _SUSPECT_HEIGHT * height
    )


class _Cells(NamedTuple):
    """Edge cells, each attribute (K,)."""

    flat: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    steadiness: np.ndarray
    strength: np.ndarray
    curvature: np.ndarray

    def chosen(self, mask: np.ndarray) -> "_Cells":
        return _Cells(*(values[mask] for values in self))


def _clusters(cells: _Cells, shape: tuple[int, int]) -> list[tuple[Graphic, np.ndarray]]:
    """Clusters of nearby cells, such as the letters of a word, each with its cells."""
    import cv2

    mask = np.zeros(shape, np.uint8)
    mask.ravel()[cells.flat] = 1
    reach = max(3, round(0.016 * max(shape))) | 1
    joined = cv2.dilate(mask, np.ones((reach, 2 * reach + 1), np.uint8))
    count, numbers = cv2.connectedComponents(joined, connectivity=8)
    cluster = numbers.ravel()[cells.flat]
    sizes = np.bincount(cluster, minlength=count)
    strength = np.bincount(cluster, cells.strength, minlength=count)
    contrast = np.bincount(cluster, np.sqrt(cells.strength), minlength=count)
    curvature = np.bincount(cluster, cells.curvature, minlength=count)
    sharp = curvature >= _MIN_SHARPNESS * strength
    likely = (sizes >= MIN_CELLS) & (contrast >= _SUSPECT_CONTRAST * sizes) & sharp
    graphics = []
    for number in np.flatnonzero(likely).tolist():
        own = cluster == number
        box = _box(cells.columns[own], cells.rows[own])
        area, size = box.width * box.height, int(sizes[number])
        if min(box.width, box.height) < _MIN_SIDE or area > _MAX_AREA * mask.size:
            continue
        if size < _MIN_DENSITY * area:
            continue
        graphic = Graphic(
            box,
            size,
            _median(cells.steadiness[own]),
            float(contrast[number] / size),
            float(curvature[number] / strength[number]),
            others=0.0,
            in_line=False,
        )
        graphics.append((graphic, cells.flat[own]))
    return graphics


def _median(values: np.ndarray) -> float:
    """Median of (K,) values; `np.median` takes four times as long on few values."""
    middle = len(values) // 2
    ordered = np.sort(values)
    return float(ordered[middle] if len(values) % 2 else ordered[middle - 1 : middle + 1].mean())


def _is_panel(graphic: Graphic, height: int) -> bool:
    return (
        graphic.box.height <= _PANEL_HEIGHT * height
        and graphic.density >= _PANEL_DENSITY
        and graphic.contrast >= _PANEL_CONTRAST
        and graphic.sharpness >= _PANEL_SHARPNESS
    )


def _box(columns: np.ndarray, rows: np.ndarray) -> Box:
    """The box of a graphic from its edge cells, which reach one cell further on all sides."""
    left, top = int(columns.min()) + 1, int(rows.min()) + 1
    return Box(left, top, max(1, int(columns.max()) - left), max(1, int(rows.max()) - top))


def _near(rows: np.ndarray, columns: np.ndarray, box: Box) -> np.ndarray:
    """(K,) bool: the cells that a graphic accounts for."""
    down, across = rows - box.y, columns - box.x
    return (
        (down >= -_MARGIN)
        & (down < box.height + _MARGIN)
        & (across >= -_MARGIN)
        & (across < box.width + _MARGIN)
    )


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )
