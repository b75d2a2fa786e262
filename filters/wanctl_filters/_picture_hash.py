"""A picture in eight 64-bit words: 256 signs that find its copies, 16 numbers that follow motion.

Both come from one cosine transform of a small grey picture. Signs survive compression, scaling
and grading; mirroring a picture turns the signs of its odd columns and nothing else, so mirrored
copies need no hash of their own.
"""

import numpy as np

SIDE = 16
"""The hash holds the signs of SIDE x SIDE coefficients, the slowest waves of the picture."""
WORDS = SIDE * SIDE // 64
COARSE = 4
"""Of the slowest COARSE x COARSE waves the strength is kept too."""

STEP = 1 / 16
"""Strengths are stored in this many levels of 0..255."""

_SMALL_PX = 32
# A picture whose waves are weaker is a flat ground: its signs are noise.
_FLAT_LEVELS = 2.0


def describe(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash (N, H, W) uint8 pictures.

    Returns:
        (N, 4) uint64 signs, zero for flat pictures; (N, 16) int16 strengths in STEPs;
        (N,) bool, whether a picture has anything in it.
    """
    import cv2

    waves = np.empty((len(pictures), SIDE, SIDE), dtype=np.float32)
    for index, picture in enumerate(pictures):
        small = cv2.resize(picture, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        waves[index] = cv2.dct(small.astype(np.float32))[:SIDE, :SIDE] / _SMALL_PX
    positive = (waves > 0).reshape(len(waves), -1)
    positive[:, 0] = False  # the mean says nothing
    signs = np.packbits(positive, axis=1, bitorder="little").view(np.uint64)
    energy = np.sqrt((waves.reshape(len(waves), -1)[:, 1:] ** 2).sum(axis=1))
    told = energy > _FLAT_LEVELS
    coarse = np.round(waves[:, :COARSE, :COARSE] / STEP)
    coarse = np.clip(coarse, -32767, 32767).astype(np.int16).reshape(len(waves), -1)
    return np.where(told[:, None], signs, 0).astype(np.uint64), coarse, told


def _mirror_words() -> np.ndarray:
    odd = np.tile(np.arange(SIDE) % 2 == 1, (SIDE, 1)).ravel()
    return np.packbits(odd, bitorder="little").view(np.uint64)


MIRROR = _mirror_words()
"""(4,) uint64: signs ^ MIRROR are those of the mirrored picture."""
MIRROR_COARSE = np.where(np.tile(np.arange(COARSE) % 2 == 1, COARSE), -1, 1).astype(np.int16)
"""(16,): strengths times this are those of the mirrored picture."""


def band_words(bands: int, bits: int) -> np.ndarray:
    """(bands, 4) uint64 masks, each of `bits` different slow waves: parts that copies share.

    Slow waves are strong, so that few of their signs turn. The choice is the same every time.
    """
    waves = np.add.outer(np.arange(SIDE), np.arange(SIDE)).ravel()
    slowest = np.argsort(waves, kind="stable")[1:61]
    rng = np.random.default_rng(20)
    masks = np.zeros((bands, SIDE * SIDE), dtype=bool)
    for mask in masks:
        mask[rng.choice(slowest, bits, replace=False)] = True
    return np.packbits(masks, axis=1, bitorder="little").view(np.uint64)
