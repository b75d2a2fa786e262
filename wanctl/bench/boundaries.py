"""Shot boundaries of files as curation detects them, in source frames, at any threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wanctl.bench.metrics import Interval
from wanctl.bench.settings import DetectionSettings
from wanctl.curate.split.shots import crop_bars, get_detector, transitions_of
from wanctl.curate.split.transitions import Transition
from wanctl.log import log
from wanctl.video.probe import Scan, scan
from wanctl.video.workers.worker_pool import DecodePool, Failure

WORKERS, TIMEOUT_S, MEMORY_BYTES = 2, 600, 4 * 2**30


class ScannedFile(NamedTuple):
    """What the detector sees of a file, and what its network computed from it once.

    Attributes:
        scan: the file.
        heads: TransNetV2's two outputs; None for other detectors.
    """

    scan: Scan
    heads: tuple[np.ndarray, np.ndarray] | None


def scan_files(paths: Sequence[Path], settings: DetectionSettings) -> Iterator[ScannedFile | None]:
    """Yield files in order, None where one cannot be read."""
    from wanctl.curate.split.transnet import probabilities  # noqa: PLC0415  imports torch

    is_network = get_detector(settings.detector).__name__ == "transnetv2"
    with DecodePool(WORKERS, TIMEOUT_S, MEMORY_BYTES) as pool:
        for index, result in pool.map(scan, ((path, settings.max_fps) for path in paths)):
            if isinstance(result, Failure):
                log.warning("%s cannot be read: %s", paths[index], result.message)
                yield None
            else:
                heads = probabilities(crop_bars(result.strip), "cpu") if is_network else None
                yield ScannedFile(result, heads)


def detect_boundaries(file: ScannedFile, settings: DetectionSettings) -> list[Interval]:
    """First and last source frame of every boundary, at the recipe's threshold."""
    if file.heads is not None:
        transitions = transitions_of(file.scan.strip, file.heads, settings.thresholds.threshold)
    else:
        transitions = get_detector(settings.detector)(file.scan.strip, settings.thresholds)
    return [_in_source_frames(file.scan, each) for each in transitions]


def sweep_thresholds(
    file: ScannedFile, settings: DetectionSettings, thresholds: Sequence[float]
) -> list[tuple[float, list[Interval]]]:
    """(threshold, boundaries) for each threshold and the recipe's own.

    The thresholds of the adaptive detector are ten times as large.
    """
    own = settings.thresholds
    return [
        (
            threshold,
            detect_boundaries(
                file,
                replace(
                    settings,
                    thresholds=replace(own, threshold=threshold, adaptive_threshold=10 * threshold),
                ),
            ),
        )
        for threshold in sorted({*thresholds, own.threshold})
    ]


def _in_source_frames(file: Scan, transition: Transition) -> Interval:
    """Strip frames as source frames: a hard cut between strip frames may be at any of theirs."""
    first, last = transition
    after = min(last + 1, len(file.strip_index) - 1)
    return int(file.strip_index[first]), max(
        int(file.strip_index[first]), int(file.strip_index[after]) - 1
    )
