"""What a curation run reads, writes and reports: `RunContext`, `Reporter`, `Limits`."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wanctl.curate.timing import Timings
from wanctl.data.dataset import DatasetDir
from wanctl.log import EventLog, ProgressDisplay
from wanctl.video.workers.worker_pool import DecodePool


@dataclass(frozen=True)
class Limits:
    """Limits of one task.

    Attributes:
        workers: decoding processes.
        timeout_s: seconds that one file or clip of a small file may take.
        timeout_per_gb_s: additional seconds per gigabyte of the file: a film decodes for longer
            than a clip, and no header is trusted to declare its length. The slowest footage in
            use (4K HEVC on one old core) takes about 1000 s per gigabyte.
        memory_bytes: address space of one worker.
        batch_clips: maximum number of clips in a batch of a network.
    """

    workers: int
    timeout_s: float
    memory_bytes: int
    timeout_per_gb_s: float
    batch_clips: int

    def pool(self) -> DecodePool:
        """Worker processes under these limits."""
        return DecodePool(self.workers, self.timeout_s, self.memory_bytes)


@dataclass(frozen=True)
class Reporter:
    """Reports progress, costs and failures.

    Attributes:
        timings: cost per stage.
        events: one line per unit of work and per failure.
        progress_display: bars on the terminal.
    """

    timings: Timings
    events: EventLog
    progress_display: ProgressDisplay

    def unit_done(
        self, stage: str, part: str, *, items: int, failures: int, seconds: float
    ) -> None:
        """Log that a unit of work is on disk."""
        self.events.write(
            "unit", stage=stage, part=part, items=items, failures=failures,
            seconds=round(seconds, 3),
        )  # fmt: skip

    def record_quarantine(self, rows: list[dict[str, Any]]) -> None:
        """Log rows that were written to the quarantine."""
        for row in rows:
            self.events.write("quarantine", **row)


@dataclass(frozen=True)
class RunContext:
    """The data set, the worker processes, their limits and the reporter of one run."""

    dataset: DatasetDir
    pool: DecodePool
    limits: Limits
    reporter: Reporter

    @cached_property
    def source_bytes(self) -> dict[str, int]:
        """Source -> size in bytes."""
        return {source["uri"]: source["size"] for source in self.dataset.sources}

    def limit_s(self, source: str) -> float:
        """Wall-clock seconds that work on a source may take."""
        gigabytes = self.source_bytes.get(source, 0) / 1e9
        return self.limits.timeout_s + gigabytes * self.limits.timeout_per_gb_s
