"""Statistics of frames that need no reference: detail, noise, blocks, colour, and flicker.

They follow published measures of quality, reduced to what costs a few milliseconds a frame. None of
them decides alone: they are inputs of a trained head.
"""

from collections.abc import Mapping

import numpy as np

from wanctl_filters.shared.bars import active_area

# Detail is measured at one size of the picture, so that a small picture counts as a coarse one.
LONG_SIDE_PX = 854
COLUMNS = (
    "fine_detail", "detail", "noise", "flat_share", "centre_detail", "blockiness", "mscn_shape",
    "mscn_product", "contrast", "luma", "colourfulness", "warmth", "change", "still_share",
    "flicker", "temporal_noise",
)  # fmt: skip
_OCTAVES = 4
_TILES = (16, 9)
_FLOOR = 0.02  # levels; keeps the logarithm of an empty band finite
_FLAT = 0.3  # levels of the finest octave; below it a tile has no texture and no noise
_STILL = 0.7  # levels between neighbouring frames; below it a tile does not change
_BLOCK = 8  # pixels of the transform blocks of the common codecs


def clip_statistics(
    frames: np.ndarray, scale: float, num_pair: int = 2
) -> Mapping[str, float | None]:
    """One number per name in COLUMNS; None where the clip does not show it.

    Args:
        frames: (N, H, W, 3) uint8; neighbouring frames follow each other in groups of `num_pair`.
        scale: width of the frames divided by the width of the source; blocks are visible at 1 only.
        num_pair: frames of a group.
    """
    import cv2

    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    rows, columns = active_area(luma)
    luma = luma[:, rows, columns].astype(np.float32)
    firsts = range(0, len(frames), num_pair)
    seen = [
        _spatial(luma[index]) | _colour(frames[index][rows, columns])
        | {"blockiness": _blockiness(luma[index]) if scale == 1 else np.nan}
        for index in firsts
    ]  # fmt: skip
    pairs = [_temporal(luma[index], luma[index + 1]) for index in firsts if index + 1 < len(frames)]
    found = {name: _median([each[name] for each in seen]) for name in seen[0]}
    # The softest frame is what a viewer marks down: a pan that smears, focus that hunts.
    found["fine_detail"] = min(each["fine_detail"] for each in seen)
    for name in ("change", "still_share", "flicker", "temporal_noise"):
        found[name] = _median([each[name] for each in pairs])
    return {
        name: round(float(found[name]), 5) if np.isfinite(found[name]) else None for name in COLUMNS
    }


def _spatial(luma: np.ndarray) -> dict[str, float]:
    """Octaves of a Laplacian pyramid, and natural-scene statistics.

    `fine_detail` and `detail` compare the finest octaves with coarser ones, as in the slope of the
    spectrum of natural images (Field, "Relations between the statistics of natural images and the
    response properties of cortical cells", 1987): upscaled and soft pictures lack the finest. The
    moments of mean-subtracted contrast-normalised values (MSCN) are those of BRISQUE (Mittal,
    Moorthy and Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", 2012) and NIQE
    (Mittal, Soundararajan and Bovik, 2013), at half the size.
    """
    import cv2

    factor = LONG_SIDE_PX / max(luma.shape)
    level = luma
    if factor > 1.01:
        level = cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    energy, tiles, half = [], [], None
    for _ in range(_OCTAVES):
        coarse = cv2.pyrDown(level)
        band = np.abs(level - cv2.pyrUp(coarse, dstsize=(level.shape[1], level.shape[0])))
        tiles.append(cv2.resize(band, _TILES, interpolation=cv2.INTER_AREA))
        energy.append(float(band.mean()) + _FLOOR)
        half = coarse if half is None else half
        level = coarse
    assert half is not None
    shape, product = _mscn_moments(half)
    fine = tiles[0]
    centre = fine[2:7, 4:12]
    return {
        "fine_detail": np.log(energy[0] / energy[1]),
        "detail": np.log(energy[1] / energy[3]),
        "noise": np.log(np.percentile(fine, 10) + _FLOOR),
        "flat_share": float((fine < _FLAT).mean()),
        "centre_detail": np.log((centre.mean() + _FLOOR) / (fine.mean() + _FLOOR)),
        "mscn_shape": shape,
        "mscn_product": product,
        "contrast": float(luma[::2, ::2].std()),
        "luma": float(luma[::2, ::2].mean()),
    }


def _mscn_moments(luma: np.ndarray) -> tuple[float, float]:
    """Squared mean magnitude over variance, and mean product of horizontal neighbours."""
    import cv2

    mean = cv2.GaussianBlur(luma, (7, 7), 7 / 6)
    variance = cv2.GaussianBlur(luma * luma, (7, 7), 7 / 6) - mean * mean
    normalised = (luma - mean) / (np.sqrt(np.maximum(variance, 0)) + 1)
    power = float((normalised * normalised).mean())
    shape = float(np.abs(normalised).mean()) ** 2 / max(power, 1e-9)
    return shape, float((normalised[:, 1:] * normalised[:, :-1]).mean())


def _colour(frame: np.ndarray) -> dict[str, float]:
    """Colourfulness of Hasler and Suesstrunk ("Measuring colourfulness in natural images", 2003).

    `warmth` is the mean of red less green: the cast of lamps indoors.
    """
    import cv2

    small = cv2.resize(frame, (160, 90), interpolation=cv2.INTER_AREA).astype(np.float32)
    red_green = small[..., 0] - small[..., 1]
    yellow_blue = (small[..., 0] + small[..., 1]) / 2 - small[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return {
        "colourfulness": float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())),
        "warmth": float(red_green.mean()),
    }


def _blockiness(luma: np.ndarray) -> float:
    """Log of the steps at block borders over the steps elsewhere, summed over both directions.

    Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images",
    2002.
    """
    total = 0.0
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        border = np.arange(1, len(steps) + 1) % _BLOCK == 0
        if not border.any():
            return np.nan
        total += float(np.log((steps[border].mean() + 0.2) / (steps[~border].mean() + 0.2)))
    return total


def _temporal(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Differences of neighbouring frames: all of them, of still parts, and of the mean level."""
    import cv2

    difference = cv2.absdiff(first, second)
    tiles = cv2.resize(difference, (80, 45), interpolation=cv2.INTER_AREA)
    return {
        "change": float(np.log(tiles.mean() + 0.1)),
        "still_share": float((tiles < _STILL).mean()),
        "flicker": float(np.log(abs(first.mean() - second.mean()) + _FLOOR)),
        "temporal_noise": float(np.log(np.percentile(tiles, 10) + _FLOOR)),
    }


def _median(values: list[float]) -> float:
    present = [value for value in values if np.isfinite(value)]
    return float(np.median(present)) if present else np.nan
