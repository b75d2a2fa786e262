"""Where a run of curation reads and writes, and what it tells while it runs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wanctl.curate.timing import Timings
from wanctl.data.dataset import DatasetDir
from wanctl.log import EventLog, ProgressDisplay
from wanctl.video.worker_pool import DecodePool, Failure

# A film decodes for longer than a clip, and no header can be trusted to say how long it is. The
# slowest footage in use (4K HEVC on one old core) takes some 1000 s per gigabyte.
TIMEOUT_PER_GB_S = 1200.0


@dataclass(frozen=True)
class Limits:
    """What one task may cost.

    Attributes:
        workers: decoding processes.
        timeout_s: seconds for one file or clip, of a small file.
        timeout_per_gb_s: seconds more for each gigabyte of the file.
        memory_bytes: address space of one worker.
        batch_clips: clips that a network sees at once, at most.
    """

    workers: int
    timeout_s: float
    memory_bytes: int
    timeout_per_gb_s: float = TIMEOUT_PER_GB_S
    batch_clips: int = 8

    def pool(self) -> DecodePool:
        """Worker processes under these limits."""
        return DecodePool(self.workers, self.timeout_s, self.memory_bytes)


@dataclass(frozen=True)
class Reporter:
    """Who is told what happens.

    Attributes:
        timings: cost per stage.
        events: one line per unit of work and per failure.
        board: bars on the terminal.
    """

    timings: Timings
    events: EventLog
    progress_display: ProgressDisplay

    def unit_done(
        self, stage: str, part: str, *, items: int, failures: int, seconds: float
    ) -> None:
        """A unit of work is done and on disk."""
        self.events.write(
            "unit", stage=stage, part=part, items=items, failures=failures,
            seconds=round(seconds, 3),
        )  # fmt: skip

    def record_quarantine(self, rows: list[dict[str, Any]]) -> None:
        """Files or clips are set aside."""
        for row in rows:
            self.events.write("quarantine", **row)


@dataclass(frozen=True)
class RunContext:
    """Where a run reads and writes."""

    dataset: DatasetDir
    pool: DecodePool
    limits: Limits
    reporter: Reporter

    @cached_property
    def source_bytes(self) -> dict[str, int]:
        """Source -> bytes."""
        return {source["uri"]: source["size"] for source in self.dataset.sources}

    def limit_s(self, source: str) -> float:
        """Wall-clock seconds that work on a source may take."""
        gigabytes = self.source_bytes.get(source, 0) / 1e9
        return self.limits.timeout_s + gigabytes * self.limits.timeout_per_gb_s


def quarantine_row(source: str, failure: Failure, clip: str = "") -> dict[str, Any]:
    """A row of the quarantine."""
    return {
        "source": source, "clip_id": clip, "stage": failure.stage, "kind": failure.kind,
        "error": failure.message,
    }  # fmt: skip
