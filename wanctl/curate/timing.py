"""What each stage of curation has cost: kept beside the tables, never in them.

Tables must come out the same byte for byte however often a run is stopped; seconds never do.
Throughput is seconds of footage per core second: processor time, because seconds on the wall
depend on how many workers there are and on what else the machine does.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from wanctl.atomic import write_bytes

FILE = "timings.json"


@dataclass
class StageCost:
    """What one stage has done so far.

    Attributes:
        seconds: on the wall, in the engine's process; 0 for what only workers do.
        cpu_s: processor seconds, of the engine's process or of its workers.
        items: files or clips.
        video_s: seconds of footage they last.
        failures: items that it could not take.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    items: int = 0
    video_s: float = 0.0
    failures: int = 0

    @property
    def rate(self) -> float | None:
        """Seconds of footage per core second; None where no time was spent."""
        return self.video_s / self.cpu_s if self.cpu_s > 0 else None

    def add(self, other: "StageCost") -> None:
        """Take over what another run of the same stage did."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class Timings:
    """Stage name -> `StageCost`, in the order the stages were first met; added up over all runs.

    Args:
        folder: the data set directory; None keeps nothing.
        name: of the process among several that work there at once, e.g. `0-of-4`.
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
        """One more file or clip has been through a stage."""
        self.stage(stage).add(StageCost(0.0, cpu_s, 1, video_s, int(failed)))

    def add(self, stages: Mapping[str, StageCost]) -> None:
        """Take over what another process has done."""
        for name, stage in stages.items():
            self.stage(name).add(stage)

    def stage(self, name: str) -> StageCost:
        """The entry of a stage, made where there is none."""
        return self.stages.setdefault(name, StageCost())

    def save(self) -> None:
        """Write the file; called when a unit of work is done: killed work is not counted."""
        if self._file:
            stages = {name: asdict(stage) for name, stage in self.stages.items()}
            write_bytes(self._file, json.dumps(stages, indent=1).encode())


def all_stages(folder: Path) -> dict[str, StageCost]:
    """What all processes together have done in a data set directory."""
    total: dict[str, StageCost] = {}
    for file in sorted(folder.glob("timings*.json")):
        for name, stage in _load(file).items():
            total.setdefault(name, StageCost()).add(stage)
    return total


def throughput_table(stages: Mapping[str, StageCost]) -> Table:
    """Stages with what they cost, for the terminal."""
    table = Table(title="throughput", title_justify="left")
    for column in ("stage", "items", "failed", "core s", "video s per core s"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in stages.items():
        rate = "" if stage.rate is None else f"{stage.rate:.3g}"
        table.add_row(name, str(stage.items), str(stage.failures or ""), f"{stage.cpu_s:.1f}", rate)
    return table


def _load(file: Path) -> dict[str, StageCost]:
    try:
        return {name: StageCost(**entry) for name, entry in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}  # times are a courtesy: a lost or damaged file starts again at nothing
