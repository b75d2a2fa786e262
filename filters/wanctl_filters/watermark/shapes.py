"""The edge cells of what may be a mark, as bitmaps, and those that several pictures share.

With a still camera everything is steady, so that a clip alone does not show which of its compact,
sharp clusters are drawn. But a scene does not have the same cluster, cell by cell, at the same
place as another scene has.
"""

from collections.abc import Sequence

import numpy as np

from wanctl.curate.api import Box

BLOCK = 8  # cells; the edge cells of a block are the bits of one number
MIN_CELLS, _MIN_AREA = 40, 80
_MIN_DENSITY = 0.17
_ALIKE = 0.45  # cells that two pictures share of those that either has, within the shape
_COVERED = 0.7  # of the cells of a shape that a picture must have
_REACH = 5  # cells between the letters of a word
PLACE = 16  # cells; the same mark is found at the same place
_WINDOW, _FILLED = (64, 32), 4  # cells of a picture of a suspect; of a 64th of it that is filled


def pack_cells(cells: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(B,) numbers of the blocks that have cells, rising, and (B,) int64 bits: which cells.

    Args:
        cells: (K,) row * width + column.
        width: of the grid.
    """
    rows, columns = np.divmod(np.asarray(cells, np.int64), width)
    blocks = rows // BLOCK * -(-width // BLOCK) + columns // BLOCK
    bits = np.uint64(1) << (rows % BLOCK * BLOCK + columns % BLOCK).astype(np.uint64)
    numbers, place = np.unique(blocks, return_inverse=True)
    packed = np.zeros(len(numbers), np.uint64)
    np.bitwise_or.at(packed, place, bits)
    return numbers, packed.view(np.int64)


def unpack_cells(blocks: np.ndarray, bits: np.ndarray, width: int) -> np.ndarray:
    """(K,) cells from what `pack_cells` returns, in the order of the blocks."""
    place, bit = np.nonzero(
        np.unpackbits(
            np.ascontiguousarray(bits).view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
        )
    )
    down, across = np.divmod(np.asarray(blocks, np.int64)[place], -(-width // BLOCK))
    rows, columns = down * BLOCK + bit // BLOCK, across * BLOCK + bit % BLOCK
    return rows * width + columns


def common_shapes(
    pictures: Sequence[np.ndarray], grid: tuple[int, int], needed: int
) -> list[tuple[Box, float, list[int]]]:
    """Shapes that at least `needed` pictures have at the same place, cell by cell.

    Those that most pictures have come first, and their cells are in no other shape.

    Args:
        pictures: (K,) edge cells of each.
        grid: width and height.
        needed: 2 or more.

    Returns:
        (box in cells, mean share of its cells that the pictures have, their indices).
    """
    import cv2

    width, height = grid
    counts = np.zeros(width * height, np.int64)
    masks = np.zeros((len(pictures), width * height), bool)
    for mask, cells in zip(masks, pictures, strict=True):
        mask[cells] = True
    counts = masks.sum(axis=0)
    kernel = np.ones((_REACH, 2 * _REACH + 1), np.uint8)
    shapes: list[tuple[Box, float, list[int]]] = []
    for level in _levels(len(pictures), needed):
        common = (counts >= level).reshape(height, width)
        if np.count_nonzero(common) < MIN_CELLS:
            continue
        joined = cv2.dilate(common.astype(np.uint8), kernel)
        _, numbers = cv2.connectedComponents(joined, connectivity=8)
        sizes = np.bincount(numbers[common])
        for number in np.flatnonzero(sizes >= MIN_CELLS).tolist():
            own = common & (numbers == number)
            rows, columns = np.nonzero(own)
            top, left = int(rows.min()), int(columns.min())
            part = np.s_[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
            area = own[part].size
            if area < _MIN_AREA or sizes[number] < _MIN_DENSITY * area:
                continue
            inside = masks.reshape(-1, height, width)[(slice(None), *part)]
            shared = (inside & own[part]).sum(axis=(1, 2))
            either = inside.sum(axis=(1, 2)) + sizes[number] - shared
            has = (shared >= _COVERED * sizes[number]) & (shared >= _ALIKE * either)
            if np.count_nonzero(has) < needed:
                continue
            # edges reach one cell beyond a graphic
            high, wide = own[part].shape
            box = Box(left + 1, top + 1, max(1, wide - 2), max(1, high - 2))
            share = float(shared[has].mean() / sizes[number])
            shapes.append((box, share, np.flatnonzero(has).tolist()))
            counts.reshape(height, width)[part] = 0
    return shapes


def _levels(count: int, needed: int) -> list[int]:
    """Numbers of pictures, falling by quarters from all of them to those that are needed."""
    levels = [count]
    while levels[-1] > needed:
        levels.append(max(needed, 3 * levels[-1] // 4))
    return levels if count >= needed else []


def pack_suspect(box: Box, cells: np.ndarray, width: int) -> tuple[int, int]:
    """A suspect in two whole numbers: 16 bits per side of its box, and an 8 by 8 picture of it.

    The picture is of `_WINDOW` cells around its place in steps of `PLACE`, so that it does not
    depend on the box: other edges of the scene may touch a mark.

    Args:
        box: of the suspect.
        cells: (K,) row * width + column.
        width: of the grid.
    """
    rows, columns = np.divmod(cells, width)
    left, top = (
        (start + size // 2) // PLACE * PLACE + PLACE // 2 - across // 2
        for start, size, across in zip(box[:2], box[2:], _WINDOW, strict=True)
    )
    down, across = (rows - top) // (_WINDOW[1] // 8), (columns - left) // (_WINDOW[0] // 8)
    inside = (down >= 0) & (down < 8) & (across >= 0) & (across < 8)
    filled = np.bincount((down * 8 + across)[inside], minlength=64) >= _FILLED
    place = sum(int(value) << (16 * at) for at, value in enumerate(box))
    return place, int(np.packbits(filled, bitorder="little").view(np.int64)[0])


def unpack_boxes(places: np.ndarray) -> np.ndarray:
    """(M, 4) x, y, width, height of suspects from the first of their numbers."""
    return np.stack([(places >> (16 * at)) & 0xFFFF for at in range(4)], axis=1)


def alike_in_group(groups: np.ndarray, bits: np.ndarray, lags: int) -> np.ndarray:
    """(M,) bool: entries with a similar picture among their neighbours in the same group.

    Linear in the number of entries.

    Args:
        groups: (M,) rising.
        bits: (M,) int64, pictures.
        lags: how many of the entries that follow are compared.
    """
    alike = np.zeros(len(groups), bool)
    words = bits.view(np.uint64)
    for lag in range(1, lags + 1):
        same = np.flatnonzero(groups[lag:] == groups[:-lag])
        one, other = words[same], words[same + lag]
        near = 2 * np.bitwise_count(one & other) >= np.bitwise_count(one | other)
        alike[same[near]] = True
        alike[same[near] + lag] = True
    return alike
