"""Hashes a frame: per view 256 signs that find copies, and 16 amplitudes that compare motion.

A view is a central crop of the frame; the first is the full frame. Each is hashed by one cosine
transform of a small grey image. Signs survive compression, scaling and grading, but not a shift by
a tenth: a cropped copy matches one of the original's views, and a central view excludes logos in
corners. Mirroring a frame flips the signs of its odd columns and nothing else, so mirrored copies
need no hash of their own.
"""

from functools import lru_cache

import numpy as np

SIDE = 16
"""The hash holds the signs of the SIDE x SIDE lowest frequencies."""
WORDS = SIDE * SIDE // 64
COARSE = 4
"""Of the COARSE x COARSE lowest frequencies the amplitude is stored too."""
VIEWS = (1.0, 0.9, 0.8, 0.6)
"""Share of width and height of each view, around the centre."""

STEP = 1 / 16
"""Unit of stored amplitudes, in luma levels (0..255)."""

_SMALL_PX = 32
# A frame whose amplitudes are lower is flat: its signs are noise.
_FLAT_LEVELS = 2.0


def hash_frames(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash (N, H, W) uint8 frames.

    Returns:
        (N, V, 4) uint64 signs of each view, zero where it is flat; (N, V, 16) int16 amplitudes in
        STEPs.
    """
    coefficients = view_coefficients(frames)
    positive = (coefficients > 0).reshape(*coefficients.shape[:2], -1)
    positive[:, :, 0] = False  # the mean carries no information
    signs = np.packbits(positive, axis=2, bitorder="little").view(np.uint64)
    energy = np.sqrt((coefficients.reshape(positive.shape)[:, :, 1:] ** 2).sum(axis=2))
    coarse = np.round(coefficients[:, :, :COARSE, :COARSE] / STEP)
    coarse = np.clip(coarse, -32767, 32767).astype(np.int16).reshape(*coefficients.shape[:2], -1)
    return np.where(energy[:, :, None] > _FLAT_LEVELS, signs, np.uint64(0)), coarse


def view_coefficients(frames: np.ndarray) -> np.ndarray:
    """(N, V, SIDE, SIDE) float32 lowest DCT coefficients of each view of (N, H, W) uint8 frames.

    Scaling a view to `_SMALL_PX` squared and transforming it are linear and separable: one matrix
    product along the rows for all frames and views, then one along the columns of each view.
    """
    count, height, width = frames.shape
    across = np.concatenate([_transform(width, share) for share in VIEWS])
    rows = frames.reshape(-1, width).astype(np.float32) @ across.T
    rows = rows.reshape(count, height, len(VIEWS), SIDE)
    result = np.empty((count, len(VIEWS), SIDE, SIDE), np.float32)
    for view, share in enumerate(VIEWS):
        np.matmul(_transform(height, share), rows[:, :, view], out=result[:, view])
    return result / _SMALL_PX


@lru_cache(maxsize=64)
def _transform(length: int, share: float) -> np.ndarray:
    """(SIDE, length) float32: scales the middle share of a line, then transforms it."""
    import cv2

    margin = round(length * (1 - share) / 2)
    part = np.eye(length - 2 * margin, dtype=np.float32)
    scaled = cv2.resize(part, (len(part), _SMALL_PX), interpolation=cv2.INTER_AREA)
    cosines = cv2.dct(np.eye(_SMALL_PX, dtype=np.float32), flags=cv2.DCT_ROWS).T[:SIDE]
    return np.pad(cosines @ scaled, ((0, 0), (margin, margin)))


def _mirror_words() -> np.ndarray:
    odd = np.tile(np.arange(SIDE) % 2 == 1, (SIDE, 1)).ravel()
    return np.packbits(odd, bitorder="little").view(np.uint64)


MIRROR = _mirror_words()
"""(4,) uint64: signs ^ MIRROR are the signs of the mirrored frame."""
MIRROR_COARSE = np.where(np.tile(np.arange(COARSE) % 2 == 1, COARSE), -1, 1).astype(np.int16)
"""(16,): amplitudes times this are the amplitudes of the mirrored frame."""


def band_masks(bands: int, bits: int, among: int) -> np.ndarray:
    """(bands, 4) uint64 masks, each of `bits` different low frequencies.

    Low frequencies have large amplitudes, so that few of their signs flip; those of even columns
    are the same in the mirrored frame. The choice, `bits` of the lowest `among`, is fixed.
    """
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    slowest = np.argsort(np.where(column % 2 == 0, row + column, 99), kind="stable")[1 : among + 1]
    rng = np.random.default_rng(20)
    masks = np.zeros((bands, SIDE * SIDE), dtype=bool)
    for mask in masks:
        mask[rng.choice(slowest, bits, replace=False)] = True
    return np.packbits(masks, axis=1, bitorder="little").view(np.uint64)
