"""What a recipe says of the filters and shot detection that are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.curate.registry import NamedFilter
from wanctl.curate.split.shots import DetectorSettings
from wanctl.data.dataset import DatasetDir

FilterKeys = Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class DetectionSettings:
    """How shot boundaries are found.

    Attributes:
        detector: name of the shot detector.
        thresholds: of the detector.
        max_fps: frame rate that the detector sees at most.
    """

    detector: str
    thresholds: DetectorSettings
    max_fps: float


@dataclass(frozen=True)
class CuratedFolder:
    """A folder of videos after curation.

    Attributes:
        dataset: its data set, decided.
        filters: the filters that decided, percentiles replaced by numbers.
    """

    dataset: DatasetDir
    filters: Sequence[NamedFilter]


@dataclass(frozen=True)
class BenchSettings:
    """Settings of one benchmark run.

    Attributes:
        filters: filter name -> the recipe's keys for it; a filter that is missing has its defaults.
        detection: how shot boundaries are found.
        curate: (keys under `curate`, folder of videos, run folder) -> the decided data set.
    """

    filters: FilterKeys
    detection: DetectionSettings
    curate: Callable[[Mapping[str, Any], Path, Path], CuratedFolder]

    def keys_of(self, filter_name: str) -> dict[str, Any]:
        """The recipe's keys for a filter; empty where the filter has its defaults."""
        return dict(self.filters.get(filter_name) or {})
