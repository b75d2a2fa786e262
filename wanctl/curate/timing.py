"""How long each stage of curation took: kept beside the tables, never in them.

Tables must come out the same byte for byte however often a run is stopped; seconds never do.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from wanctl.data.atomic import write_bytes

FILE = "timings.json"


@dataclass
class Stage:
    """What one stage has done so far.

    Attributes:
        seconds: spent in the main process; of decoding, spent waiting for frames.
        items: files or clips.
        video_s: seconds of footage they last.
    """

    seconds: float = 0.0
    items: int = 0
    video_s: float = 0.0


class Timings:
    """Stage name -> `Stage`, in the order the stages were first met; added up over all runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.stages = _load(self._file)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        started = time.perf_counter()
        yield
        self._stage(stage).seconds += time.perf_counter() - started

    def count(self, stage: str, video_s: float) -> None:
        """One more file or clip has been through a stage."""
        entry = self._stage(stage)
        entry.items += 1
        entry.video_s += video_s

    def save(self) -> None:
        """Write the file; called when a unit of work is done: killed work is not counted."""
        text = json.dumps({name: asdict(stage) for name, stage in self.stages.items()}, indent=1)
        write_bytes(self._file, text.encode())

    def _stage(self, name: str) -> Stage:
        return self.stages.setdefault(name, Stage())


def _load(file: Path) -> dict[str, Stage]:
    try:
        return {name: Stage(**entry) for name, entry in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}  # times are a courtesy: a lost or damaged file starts again at nothing
