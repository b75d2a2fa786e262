"""Decodes the frames of clips in worker processes, for a model that has to be kept busy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameBatch, FrameRange, FrameSpec, range_of
from wanctl.video.sources import check_present
from wanctl.video.workers.worker_pool import DecodePool, Failure

STAGE = "caption"
"""Stage of these failures in the quarantine."""

Tasks = Iterator[tuple[Mapping[str, Any], FrameSpec]]
"""(row of the clips table, the frames that are wanted)."""


@dataclass(frozen=True)
class DecodeLimits:
    """Limits of the decoding processes.

    Attributes:
        workers: number of processes.
        timeout_s: that one clip may take.
        timeout_per_gb_s: additional seconds per gigabyte of its file.
        memory_bytes: address space of one worker.
    """

    workers: int
    timeout_s: float
    timeout_per_gb_s: float
    memory_bytes: int


class FrameSource(Protocol):
    """Where frames come from."""

    def read(self, tasks: Tasks) -> Iterator[tuple[int, FrameBatch | Failure]]:
        """(number of the task, its frames) as they are ready; a few tasks are taken ahead."""
        ...

    def close(self) -> None:
        """End the work, also of another thread in `read`."""
        ...


class DecodedFrames:
    """Frames of the footage, decoded by a pool.

    Args:
        limits: of the pool.
        source_bytes: source -> size of its file.
    """

    def __init__(self, limits: DecodeLimits, source_bytes: Mapping[str, int]) -> None:
        self._limits = limits
        self._source_bytes = source_bytes
        self._pool = DecodePool(limits.workers, limits.timeout_s, limits.memory_bytes)

    def read(self, tasks: Tasks) -> Iterator[tuple[int, FrameBatch | Failure]]:
        """Decode in the pool, in whatever order clips are ready."""
        arguments = (
            (
                row["source"], row["start_pts"], row["end_pts"], spec, row["width"], row["height"],
                range_of(row),
            )
            for row, spec in tasks
        )  # fmt: skip
        for index, result in self._pool.map(
            read_frames, arguments, limit_s=self._limit_s, ordered=False
        ):
            failed = isinstance(result, Failure)
            yield index, replace(result, stage=STAGE) if failed else result

    def close(self) -> None:
        """Kill the workers."""
        self._pool.close()

    def _limit_s(self, source: str, *_: Any) -> float:
        gigabytes = self._source_bytes.get(source, 0) / 1e9
        return self._limits.timeout_s + gigabytes * self._limits.timeout_per_gb_s


def read_frames(
    source: str,
    start_pts: int,
    end_pts: int,
    spec: FrameSpec,
    width: int,
    height: int,
    frame_range: FrameRange | None,
) -> FrameBatch:
    """The task of a worker: the frames of one clip.

    Raises:
        SourceError: the file is gone.
        VideoError: the clip cannot be decoded.
    """
    check_present(source)
    (batch,) = read_clip(source, start_pts, end_pts, [spec], width, height, frame_range)
    return batch
