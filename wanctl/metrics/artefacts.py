"""Artefacts of video autoencoders in the error of a reconstruction: flicker and seams.

All functions take the error, reconstruction minus source, (3, T, H, W) float at the scale of
[-1, 1]; the content of the source cancels in it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Grey levels of 8 bits per unit of a video in [-1, 1].
LEVELS = 127.5
# Largest change of a still pixel from one frame to the next, in grey levels: codecs leave that
# much in areas without motion. Compared after averaging 5x5 pixels, so that grain is no motion.
STILL_LEVELS = 2.0
STILL_WINDOW_PX = 5
# With less still area than this share of all pixels, flicker would be an average over specks.
MIN_STILL_SHARE = 0.01
# Energy far below what a grey level has: a seam ratio of two errors of nothing is 1.
SEAM_FLOOR = (0.01 / LEVELS) ** 2


def flicker(error: Tensor, source: Tensor) -> float | None:
    """How much the error changes from frame to frame where the source stands still.

    Args:
        error: reconstruction minus source.
        source: the same shape.

    Returns:
        Mean absolute change over still pixels, in 8-bit grey levels. None for one frame, and where
        less than 1 % of the source is still.
    """
    if source.shape[1] < 2:
        return None
    still = _still(source)
    count = still.sum()
    if count < MIN_STILL_SHARE * still.numel():
        return None
    change = error.diff(dim=1).abs().mean(dim=0)
    return (change[still].double().mean() * LEVELS).item()


def temporal_seams(error: Tensor, stride: int) -> float | None:
    """Energy of the error's change at chunk borders, relative to the changes within chunks.

    A causal VAE encodes the first frame alone and then `stride` frames to a latent frame, so that
    a border follows frame 0, frame `stride`, frame 2 x `stride` ...

    Returns:
        1 where borders are like the rest, more where seams show. None where there is no border
        or nothing within a chunk.
    """
    energy = error.diff(dim=1).double().square().mean(dim=(0, 2, 3))
    at_border = torch.arange(len(energy), device=error.device) % stride == 0
    return _ratio([energy[at_border]], [energy[~at_border]])


def spatial_seams(error: Tensor, stride: int) -> float | None:
    """Energy of the error's steps across block borders, relative to the steps within blocks.

    The columns and rows that begin a block of `stride` pixels, a latent's area, are borders.

    Returns:
        1 where borders are like the rest, more where blocks show. None where a frame is one block.
    """
    borders, inside = [], []
    for dim in (2, 3):
        others = [each for each in range(4) if each != dim]
        energy = error.diff(dim=dim).double().square().mean(dim=others)
        at_border = torch.arange(1, len(energy) + 1, device=error.device) % stride == 0
        borders.append(energy[at_border])
        inside.append(energy[~at_border])
    return _ratio(borders, inside)


def _still(source: Tensor) -> Tensor:
    """(T-1, H, W) bool: pixels whose neighbourhood does not change from a frame to the next."""
    change = source.float().diff(dim=1).transpose(0, 1)
    change = F.avg_pool2d(
        change, STILL_WINDOW_PX, stride=1, padding=STILL_WINDOW_PX // 2, count_include_pad=False
    )
    change = change.abs().amax(dim=1, keepdim=True)
    # single pixels in motion have the same value twice by chance
    change = F.max_pool2d(change, STILL_WINDOW_PX, stride=1, padding=STILL_WINDOW_PX // 2)
    return change[:, 0] * LEVELS <= STILL_LEVELS


def _ratio(borders: list[Tensor], inside: list[Tensor]) -> float | None:
    at_borders, within = torch.cat(borders), torch.cat(inside)
    if not len(at_borders) or not len(within):
        return None
    return ((at_borders.mean() + SEAM_FLOOR) / (within.mean() + SEAM_FLOOR)).item()
