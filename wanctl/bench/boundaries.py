"""Shot boundaries of files as curation finds them, in source frames, at any threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanctl.bench.scores import Interval
from wanctl.curate.split.shots import (
    DetectorSettings,
    get_detector,
    probabilities,
)
from wanctl.curate.split.transitions import Transition, clean_transitions, from_heads
from wanctl.log import log
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import SplitSection
from wanctl.video.probe import Scan, scan
from wanctl.video.worker_pool import DecodePool, Failure

Scored = list[tuple[float, list[Interval]]]


class Strip(NamedTuple):
    """What the detector sees of a file, and what its network made of it once.

    Attributes:
        scan: the file.
        heads: TransNetV2's two outputs; None for other detectors.
    """

    scan: Scan
    heads: tuple[np.ndarray, np.ndarray] | None


def scan_strips(paths: Sequence[Path], recipe: LoadedRecipe | None) -> Iterator[Strip | None]:
    """Files in order, None where one cannot be read."""
    section = _section(recipe)
    network = get_detector(section.detector).__name__ == "transnetv2"
    with DecodePool(2, 600, 4 * 2**30) as pool:
        for index, result in pool.map(scan, ((path, section.max_fps) for path in paths)):
            if isinstance(result, Failure):
                log.warning("%s cannot be read: %s", paths[index], result.message)
                yield None
            else:
                yield Strip(result, probabilities(result.strip, "cpu") if network else None)


def boundaries(strip: Strip, recipe: LoadedRecipe | None) -> list[Interval]:
    """First and last source frame of every boundary, at the recipe's threshold."""
    return _at(strip, _settings(recipe), recipe)


def sweep(strip: Strip, recipe: LoadedRecipe | None, thresholds: Sequence[float]) -> Scored:
    """(threshold, boundaries) for each threshold; the adaptive detector's are ten times these."""
    settings = _settings(recipe)
    return [
        (t, _at(strip, replace(settings, threshold=t, adaptive_threshold=10 * t), recipe))
        for t in sorted({*thresholds, settings.threshold})
    ]


def _at(strip: Strip, settings: DetectorSettings, recipe: LoadedRecipe | None) -> list[Interval]:
    if strip.heads is not None:
        found = clean_transitions(strip.scan.strip, from_heads(*strip.heads, settings.threshold))
    else:
        found = get_detector(_section(recipe).detector)(strip.scan.strip, settings)
    return [_in_source(strip.scan, each) for each in found]


def _in_source(found: Scan, transition: Transition) -> Interval:
    """Strip frames as source frames: a hard cut between strip frames may be at any of theirs."""
    first, last = transition
    after = min(last + 1, len(found.strip_index) - 1)
    return int(found.strip_index[first]), max(
        int(found.strip_index[first]), int(found.strip_index[after]) - 1
    )


def _section(recipe: LoadedRecipe | None) -> SplitSection:
    return recipe.recipe.curate.split if recipe else SplitSection()


def _settings(recipe: LoadedRecipe | None) -> DetectorSettings:
    section = _section(recipe)
    return DetectorSettings(section.threshold, section.adaptive_threshold)
