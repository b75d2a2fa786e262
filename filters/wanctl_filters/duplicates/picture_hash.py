"""A picture in views of eight 64-bit words: 256 signs that find copies, 16 numbers for motion.

A view is the middle of the picture; the first is all of it. Each is one cosine transform of a
small grey picture. Signs survive compression, scaling and grading, but not a shift by a tenth:
the picture that a copy's crop leaves is found among the original's views, and the middle knows
nothing of a logo in a corner. Mirroring a picture turns the signs of its odd columns and nothing
else, so mirrored copies need no hash of their own.
"""

import numpy as np

SIDE = 16
"""The hash holds the signs of SIDE x SIDE coefficients, the slowest waves of the picture."""
WORDS = SIDE * SIDE // 64
COARSE = 4
"""Of the slowest COARSE x COARSE waves the strength is kept too."""
VIEWS = (1.0, 0.9, 0.8, 0.6)
"""Share of width and height that each view keeps, about the centre."""

STEP = 1 / 16
"""Strengths are stored in this many levels of 0..255."""

_SMALL_PX = 32
# A picture whose waves are weaker is a flat ground: its signs are noise.
_FLAT_LEVELS = 2.0


def describe(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash (N, H, W) uint8 pictures.

    Returns:
        (N, V, 4) uint64 signs of each view, zero where it is flat; (N, V, 16) int16 strengths in
        STEPs.
    """
    waves = np.stack([_waves(picture) for picture in pictures])
    positive = (waves > 0).reshape(*waves.shape[:2], -1)
    positive[:, :, 0] = False  # the mean says nothing
    signs = np.packbits(positive, axis=2, bitorder="little").view(np.uint64)
    energy = np.sqrt((waves.reshape(positive.shape)[:, :, 1:] ** 2).sum(axis=2))
    coarse = np.round(waves[:, :, :COARSE, :COARSE] / STEP)
    coarse = np.clip(coarse, -32767, 32767).astype(np.int16).reshape(*waves.shape[:2], -1)
    return np.where(energy[:, :, None] > _FLAT_LEVELS, signs, np.uint64(0)), coarse


def _waves(picture: np.ndarray) -> np.ndarray:
    """(V, 16, 16) float32 coefficients of each view of (H, W) uint8."""
    import cv2

    height, width = picture.shape
    result = np.empty((len(VIEWS), SIDE, SIDE), dtype=np.float32)
    for view, share in zip(result, VIEWS, strict=True):
        y, x = (round(side * (1 - share) / 2) for side in (height, width))
        part = picture[y : height - y, x : width - x]
        small = cv2.resize(part, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        view[:] = cv2.dct(small.astype(np.float32))[:SIDE, :SIDE] / _SMALL_PX
    return result


def _mirror_words() -> np.ndarray:
    odd = np.tile(np.arange(SIDE) % 2 == 1, (SIDE, 1)).ravel()
    return np.packbits(odd, bitorder="little").view(np.uint64)


MIRROR = _mirror_words()
"""(4,) uint64: signs ^ MIRROR are those of the mirrored picture."""
MIRROR_COARSE = np.where(np.tile(np.arange(COARSE) % 2 == 1, COARSE), -1, 1).astype(np.int16)
"""(16,): strengths times this are those of the mirrored picture."""


def band_words(bands: int, bits: int, among: int) -> np.ndarray:
    """(bands, 4) uint64 masks, each of `bits` different slow waves: parts that copies share.

    Slow waves are strong, so that few of their signs turn; those of even columns are the same in
    the mirrored picture. The choice, `bits` of the slowest `among`, is the same every time.
    """
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    slowest = np.argsort(np.where(column % 2 == 0, row + column, 99), kind="stable")[1 : among + 1]
    rng = np.random.default_rng(20)
    masks = np.zeros((bands, SIDE * SIDE), dtype=bool)
    for mask in masks:
        mask[rng.choice(slowest, bits, replace=False)] = True
    return np.packbits(masks, axis=1, bitorder="little").view(np.uint64)
