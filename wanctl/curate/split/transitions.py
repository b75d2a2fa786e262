"""Transitions between shots from a network's probabilities, with corrections.

The corrections need more context than a network's window of a second or two: a flash is no cut,
and a fade through black is one transition, not two.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Only TransNetV2's second head finds slow dissolves: measured on dissolves of up to 70 frames, 17
# of 18 are found instead of 14. Shorter or weaker runs are mostly motion.
SLOW_SHARE, SLOW_FRAMES = 0.75, 6
# A flash: the content returns within so many frames, and the step before was large.
FLASH_FRAMES, FLASH_STEP, FLASH_BACK = 6, 10.0, 0.35
# A cut for which the network is unsure (a jump cut, the same scene from another side) has a
# probability of at least this share of the threshold within two frames, and changes several times
# as much of the picture as any frame near it. On 66 real clips and 212 s of a music video such
# cuts change 3.5 times and more as much, everything else (shake, drawings on threes, stutter)
# at most 2.8 times. A caption or an inset that appears changes a third of the picture.
WEAK_SHARE, ABRUPT_RATIO, ABRUPT_LEVELS, ABRUPT_AREA = 0.25, 3.0, 12.0, 0.4
ABRUPT_NEAR, HEAD_NEAR, PIXEL_LEVELS = 8, 2, 6
# Lamps and welding light up for longer than a photographer's flash.
LONG_FLASH_FRAMES, LONG_FLASH_STEP = 12, 30.0
# Between a fade-out and a fade-in there is at least one frame this dark, and few other frames.
BLACK_LUMA, BLACK_FRAMES = 6.0, 40


class Transition(NamedTuple):
    """A run of strip frames that belongs to no shot: first and last index of the change.

    For a hard cut between strip frames k and k + 1, `first` is k and `last` is k: frame k is the
    last one of the old shot.
    """

    first: int
    last: int


def from_heads(cuts: np.ndarray, spans: np.ndarray, threshold: float) -> list[Transition]:
    """Transitions from two probabilities per frame: a cut after it, and being in a transition."""
    slow = [
        run
        for run in runs(spans > SLOW_SHARE * threshold)
        if run.last - run.first + 1 >= SLOW_FRAMES
    ]
    return _grow(sorted([*runs(cuts > threshold), *slow]), spans > threshold)


def abrupt_cuts(strip: np.ndarray, cuts: np.ndarray, threshold: float) -> list[Transition]:
    """Cuts below the threshold where the picture changes abruptly and for good.

    Args:
        strip: (N, 27, 48, 3) uint8 without bars.
        cuts: (N,) probability of a cut after each frame.
        threshold: above which a probability is a cut by itself.
    """
    if len(strip) < 3:
        return []
    padded = np.pad(cuts, HEAD_NEAR)
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * HEAD_NEAR + 1).max(axis=1)
    weak = np.flatnonzero(near[:-1] >= WEAK_SHARE * threshold)
    return [Transition(int(k), int(k)) for k in weak if _is_abrupt(strip, int(k))]


def clean_transitions(strip: np.ndarray, transitions: Sequence[Transition]) -> list[Transition]:
    """Remove flashes, and merge each fade through black into one transition.

    Args:
        strip: (N, 27, 48, 3) uint8.
        transitions: in order of time.
    """
    kept: list[Transition] = []
    for each in transitions:
        if kept and _black_between(strip, kept[-1].last + 1, each.first):
            kept[-1] = Transition(kept[-1].first, each.last)
        elif not _is_flash(strip, each):
            kept.append(each)
    return kept


def runs(marked: np.ndarray) -> list[Transition]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return [Transition(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _grow(seeds: Sequence[Transition], inside: np.ndarray) -> list[Transition]:
    """Extend each seed to its whole run of transition frames; merge runs that then touch."""
    grown: list[Transition] = []
    for first, last in seeds:
        while first > 0 and inside[first - 1]:
            first -= 1
        while last + 1 < len(inside) and inside[last + 1]:
            last += 1
        if grown and first <= grown[-1].last + 1:
            before = grown.pop()
            first, last = min(first, before.first), max(last, before.last)
        grown.append(Transition(first, last))
    return grown


def _is_abrupt(strip: np.ndarray, last: int) -> bool:
    """Whether frame `last` and the next differ more than any two neighbours near them."""
    difference = np.abs(strip[last + 1].astype(np.int16) - strip[last])
    step = float(difference.mean())
    if step < ABRUPT_LEVELS or (difference.max(axis=-1) > PIXEL_LEVELS).mean() < ABRUPT_AREA:
        return False
    reach = ABRUPT_NEAR + LONG_FLASH_FRAMES
    start = max(0, last + 1 - reach)
    frames = strip[start : last + 1 + reach].reshape(-1, strip[0].size).astype(np.float32)
    lit = _flash_frames(frames)
    at = last - start
    if lit[at] or lit[at + 1]:
        return False
    usual = np.abs(np.diff(frames, axis=0)).mean(axis=1)
    usual[lit[1:] | lit[:-1]] = np.nan
    sides = usual[max(0, at - ABRUPT_NEAR) : at], usual[at + 1 : at + 1 + ABRUPT_NEAR]
    if any(np.isnan(side).all() for side in sides):
        return False
    return step >= ABRUPT_RATIO * max(float(np.nanmax(side)) for side in sides)


def _flash_frames(frames: np.ndarray) -> np.ndarray:
    """(N,) bool: frames far from the frame before them, to which a later frame returns."""
    lit = np.zeros(len(frames), dtype=bool)
    for start in range(len(frames) - 2):
        if lit[start]:
            continue
        ahead = frames[start + 1 : start + 2 + LONG_FLASH_FRAMES]
        away = np.abs(ahead - frames[start]).mean(axis=1)
        if away[0] < LONG_FLASH_STEP:
            continue
        back = np.flatnonzero(away < FLASH_BACK * away[0])
        if len(back):
            lit[start + 1 : start + 1 + int(back[0])] = True
    return lit


def _black_between(strip: np.ndarray, first: int, last: int) -> bool:
    between = strip[first : last + 1]
    if not 0 < len(between) <= BLACK_FRAMES:
        return False
    return float(between.reshape(len(between), -1).mean(axis=1).min()) < BLACK_LUMA


def _is_flash(strip: np.ndarray, transition: Transition) -> bool:
    """Whether the step is large and the content before it returns shortly after."""
    first, last = transition
    before = strip[max(0, first + 1 - FLASH_FRAMES) : first + 1].astype(np.float32)
    after = strip[last + 1 : last + 1 + FLASH_FRAMES].astype(np.float32)
    if last - first > FLASH_FRAMES or len(before) < 3 or len(after) < 3:
        return False
    step = float(np.abs(before[-1] - after[0]).mean())
    nearest = np.abs(before[:, None] - after[None]).mean(axis=(2, 3, 4)).min()
    return step > FLASH_STEP and float(nearest) < FLASH_BACK * step
