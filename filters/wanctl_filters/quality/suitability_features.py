"""Named features of clips for the suitability head: verdicts, the row, and statistics."""

from collections.abc import Callable, Sequence

import numpy as np

from wanctl.curate.api import ClipBatch
from wanctl_filters.quality.frame_statistics import COLUMNS

OWN = "quality"  # prefix of the statistics that the filter measures itself
SCORES = (
    "border", "ocr", "watermark", "motion", "exposure", "blur", "nsfw", "container",
)  # fmt: skip
LABELS = (
    ("motion", ("optimal", "medium", "static", "camera", "low_quality", "shaky")),
    ("exposure", ("over", "under")),
)
_OF_ROW: dict[str, Callable[[ClipBatch], np.ndarray]] = {
    "short_side": lambda batch: np.log2(
        np.maximum(np.minimum(batch.clip("width"), batch.clip("height")), 1)
    ),
    "fps": lambda batch: np.minimum(batch.clip("fps"), 60.0),
    "duration": lambda batch: np.log2(np.maximum(batch.clip("duration_s"), 0.1)),
    "bits_per_pixel": lambda batch: _bits_per_pixel(batch),
    "kept_area": lambda batch: _kept_area(batch),
}
ALL = (
    *(f"{OWN}:{name}" for name in COLUMNS),
    *(f"clip:{name}" for name in _OF_ROW),
    *SCORES,
    *(f"{name}:{label}" for name, labels in LABELS for label in labels),
)

# Directions that need no labels, in standard deviations of the feature: what makes footage less
# suitable whatever it shows. Koala-36M (Wang et al., 2024) asks its annotators for the same:
# clarity, text, motion; flat tiles are slides, screens and blank backgrounds.
DIRECTIONS = {
    "quality:fine_detail": 1.0,
    "quality:blockiness": -0.5,
    "quality:flat_share": -0.5,
    "clip:short_side": 0.5,
    "ocr": -1.0,
    "motion:shaky": -1.0,
}


def features(batch: ClipBatch, names: Sequence[str]) -> np.ndarray:
    """(N, F) float64 columns by name; NaN where the recipe lacks the filter or it gave no score.

    A name is `clip:KEY` (the clip's row), `quality:COLUMN` (statistics), `FILTER:LABEL` (1 where
    the filter gives that label, else 0) or `FILTER` (its score).
    """
    columns = np.full((len(batch), len(names)), np.nan)
    for index, name in enumerate(names):
        column = _column(batch, name)
        if column is not None:
            columns[:, index] = column
    return columns


def missing_filters(batch: ClipBatch, names: Sequence[str]) -> list[str]:
    """Filters in `names` that the recipe does not have before this one."""
    needed = {name.partition(":")[0] for name in names} - {"clip", OWN}
    return sorted(needed - set(batch.verdicts))


def _column(batch: ClipBatch, name: str) -> np.ndarray | None:
    owner, _, key = name.partition(":")
    if owner == "clip":
        return _OF_ROW[key](batch)
    if owner == OWN:
        return batch.numbers(key) if key in batch.evidence.column_names else None
    verdicts = batch.verdicts.get(owner)
    if verdicts is None:
        return None
    if not key:
        return verdicts.score
    return None if verdicts.label is None else (verdicts.label == key).astype(np.float64)


def _bits_per_pixel(batch: ClipBatch) -> np.ndarray:
    """Log2 of the bits a pixel of a frame takes; NaN where the file states no bit rate."""
    rate = batch.clip("bit_rate").astype(np.float64)
    pixels = batch.clip("width") * batch.clip("height") * batch.clip("fps")
    known = (rate > 0) & (pixels > 0)
    return np.log2(np.where(known, rate, np.nan) / np.where(known, pixels, 1.0))


def _kept_area(batch: ClipBatch) -> np.ndarray:
    """Share of the frame that the crops of earlier filters leave."""
    area = batch.clip("width").astype(np.float64) * batch.clip("height")
    return batch.views[:, 2].astype(np.float64) * batch.views[:, 3] / np.maximum(area, 1)
