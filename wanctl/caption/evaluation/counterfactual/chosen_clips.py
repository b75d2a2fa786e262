"""The clips about which a captioner is asked, with their frames and those of a partner."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from wanctl.caption.backends import CaptionClip
from wanctl.caption.clips import read_kept
from wanctl.caption.evaluation.counterfactual.ask import ClipFrames
from wanctl.caption.pipeline.decode import DecodeLimits, read_frames
from wanctl.caption.structured.clip_steps import StepsFactory
from wanctl.data.dataset import DatasetDir
from wanctl.log import log
from wanctl.video.frames import range_of
from wanctl.video.workers.worker_pool import DecodePool, Failure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ChosenClips:
    """Clips in pairs.

    Attributes:
        rows: of the clips table, cut down to the spans that are kept.
        partners: clip -> the clip whose frames it gets when captions are swapped: half the list
            away, so that both are seldom of one source.
    """

    rows: Sequence[Row]
    partners: Mapping[str, str]

    def frames(
        self, factory: StepsFactory, limits: DecodeLimits, pending: set[str]
    ) -> Iterator[ClipFrames]:
        """The pending clips with frames; those that cannot be decoded are left out and logged."""
        by_id = {row["id"]: row for row in self.rows}
        pairs = [
            (row, by_id.get(self.partners.get(row["id"], ""), row))
            for row in self.rows
            if row["id"] in pending
        ]
        tasks = (
            (
                row["source"], row["start_pts"], row["end_pts"],
                factory.frame_spec(row["width"], row["height"]), row["width"], row["height"],
                range_of(row),
            )
            for pair in pairs
            for row in pair
        )  # fmt: skip
        with DecodePool(limits.workers, limits.timeout_s, limits.memory_bytes) as pool:
            results = (result for _, result in pool.map(read_frames, tasks))
            for pair in pairs:
                batches = [next(results) for _ in pair]
                failed = next((each for each in batches if isinstance(each, Failure)), None)
                if failed is not None:
                    log.warning("%s: left out: %s", pair[0]["id"], failed.message)
                    continue
                yield ClipFrames(_clip(pair[0]), batches[0], _clip(pair[1]), batches[1])


def choose_clips(dataset: DatasetDir, selection: str, most: int) -> ChosenClips:
    """At most so many of the kept clips, evenly spaced in the order of the data set.

    Raises:
        UserError: there is no such selection, or it keeps no clip.
    """
    kept = read_kept(dataset, selection)
    clips = dataset.clips()
    ids = [each for each in clips["id"].to_pylist() if kept.ids is None or each in kept.ids]
    if len(ids) > most:
        ids = [ids[index * len(ids) // most] for index in range(most)]
    chosen = set(ids)
    table = clips.filter(pa.array([each in chosen for each in clips["id"].to_pylist()]))
    rows = {row["id"]: kept.trimmed(row) for row in table.to_pylist()}
    half = (len(ids) + 1) // 2
    partners = {each: ids[(index + half) % len(ids)] for index, each in enumerate(ids)}
    return ChosenClips([rows[each] for each in ids], {a: b for a, b in partners.items() if a != b})


def _clip(row: Row) -> CaptionClip:
    """A clip without evidence: no hint may reach the prompt."""
    return CaptionClip(
        id=row["id"],
        source=Path(row["source"]),
        shot=row["shot"],
        start_s=row["start_s"],
        duration_s=row["end_s"] - row["start_s"],
        width=row["width"],
        height=row["height"],
        has_audio=row["has_audio"],
    )
