"""Cost of each stage of curation, stored in files of its own.

Tables are equal byte for byte however often a run is stopped; times are not. Throughput is
seconds of footage per CPU second, because wall-clock time depends on the number of workers and on
the load of the machine.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from wanctl.atomic import write_bytes

FILE = "timings.json"


@dataclass
class StageCost:
    """Cost of one stage so far.

    Attributes:
        seconds: wall-clock time in the engine's process; 0 for work that only workers do.
        cpu_s: CPU seconds of the engine's process or of its workers.
        items: number of files or clips.
        video_s: their duration in seconds.
        failures: items that failed.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    items: int = 0
    video_s: float = 0.0
    failures: int = 0

    @property
    def rate(self) -> float | None:
        """Seconds of footage per CPU second; None where no time was spent."""
        return self.video_s / self.cpu_s if self.cpu_s > 0 else None

    def add(self, other: "StageCost") -> None:
        """Add the cost of another run of the same stage."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class Timings:
    """Stage name -> `StageCost` in order of first use, summed over all runs.

    Args:
        folder: the data set directory; None stores nothing.
        name: name of the process among several that run there at once, e.g. `0-of-4`.
    """

    def __init__(self, folder: Path | None, name: str = "") -> None:
        file = f"timings-{name}.json" if name else FILE
        self._file = folder / file if folder else None
        self.stages = _load(self._file) if self._file else {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        entry = self.stage(stage)
        entry.seconds += time.perf_counter() - wall
        entry.cpu_s += time.process_time() - cpu

    def count(
        self, stage: str, video_s: float, *, cpu_s: float = 0.0, failed: bool = False
    ) -> None:
        """Count one file or clip that a stage has processed."""
        self.stage(stage).add(StageCost(0.0, cpu_s, 1, video_s, int(failed)))

    def add(self, stages: Mapping[str, StageCost]) -> None:
        """Add the costs of another process."""
        for name, stage in stages.items():
            self.stage(name).add(stage)

    def stage(self, name: str) -> StageCost:
        """The entry of a stage, created if needed."""
        return self.stages.setdefault(name, StageCost())

    def save(self) -> None:
        """Write the file; called after each unit of work, so that killed work is not counted."""
        if self._file:
            stages = {name: asdict(stage) for name, stage in self.stages.items()}
            write_bytes(self._file, json.dumps(stages, indent=1).encode())


def all_stages(folder: Path) -> dict[str, StageCost]:
    """Costs of all processes together in a data set directory."""
    total: dict[str, StageCost] = {}
    for file in sorted(folder.glob("timings*.json")):
        for name, stage in _load(file).items():
            total.setdefault(name, StageCost()).add(stage)
    return total


THROUGHPUT_COLUMNS = ("stage", "items", "failed", "core s", "video s per core s")


def throughput_rows(stages: Mapping[str, StageCost]) -> list[tuple[str, ...]]:
    """Costs of the stages as rows of THROUGHPUT_COLUMNS."""
    return [
        (
            name, str(stage.items), str(stage.failures or ""), f"{stage.cpu_s:.1f}",
            "" if stage.rate is None else f"{stage.rate:.3g}",
        )
        for name, stage in stages.items()
    ]  # fmt: skip


def _load(file: Path) -> dict[str, StageCost]:
    try:
        return {name: StageCost(**entry) for name, entry in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}  # times are optional: a lost or damaged file starts again at zero
