"""Checks which clips training uses, in which bucket, and why not: `wanctl data check`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wanctl.data.buckets import BucketLike, bucket_name, clip_bucket, why_no_bucket
from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import crop_of, frames_of
from wanctl.exchange.external.clips import ExternalClip
from wanctl.exchange.media import MediaInfo, probe_media
from wanctl.log import Bar
from wanctl.model.shapes import floor_frames
from wanctl.textfiles import printable
from wanctl.video.decode import num_frames_at
from wanctl.video.frames import trimmed
from wanctl.video.workers.worker_pool import DecodePool, Failure

SHARED_BY = 3
"""A caption that at least this many files share is noted."""


@dataclass(frozen=True)
class CheckRow:
    """The result for one clip; the attributes are the columns of `--csv`.

    Attributes:
        name: id or file.
        state: `in`, or the reason in one word: `dropped`, `no bucket`, `no caption`, `unreadable`.
        why: the reason in full.
        bucket: the longest bucket that takes the clip; empty where none does.
        frames: number of frames at the training rate.
        whole: the same number cut to 4n+1.
        used: how many of these the bucket uses.
        width: pixels, after the crop.
        height: pixels, after the crop.
        captions: how many captions the clip has.
        notes: properties that are known to confuse trainers.
    """

    name: str
    state: str
    why: str = ""
    bucket: str = ""
    frames: int = 0
    whole: int = 0
    used: int = 0
    width: int = 0
    height: int = 0
    captions: int = 0
    notes: str = ""

    def cells(self) -> list[str]:
        """The values as text, in the order of the attributes."""
        return [str(value) for value in asdict(self).values()]


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        where: the data set.
        layout: how it was read.
        notes: problems of the data set as a whole.
        rows: one per clip.
    """

    where: str
    layout: str
    notes: Sequence[str]
    rows: Sequence[CheckRow]


@dataclass(frozen=True)
class TrainingShapes:
    """The buckets and the frame rate that clips are checked against."""

    buckets: Sequence[BucketLike]
    fps: float


def check_dataset(
    dataset: DatasetDir, selection: str, backends: Sequence[str], shapes: TrainingShapes
) -> Iterator[CheckRow]:
    """Check every clip of a data set directory, kept or not, without reading footage."""
    table = f"selections/{selection}"
    verdicts = {row["id"]: row for row in dataset.read(table).to_pylist()}
    captions = read_captions(dataset, backends)
    for row in dataset.clips().to_pylist():
        verdict = verdicts.get(row["id"])
        if verdict is None:
            reason = f"not in selection {selection!r}: select again"
            yield CheckRow(row["id"], "dropped", reason)
            continue
        clip = trimmed({**row, **verdict})
        crop = crop_of(verdict)
        width, height = (crop.width, crop.height) if crop else (clip["width"], clip["height"])
        size = (frames_of(clip, shapes.fps), height, width)
        notes = ["variable frame rate, retimed by PTS"] if clip["vfr"] else []
        if abs(clip["fps"] - shapes.fps) > 0.01:
            notes.append(f"{clip['fps']:g} fps retimed to {shapes.fps:g}")
        if clip["span_reason"]:
            notes.append(f"trimmed: {clip['span_reason']}")
        dropped = "" if verdict["kept"] else "; ".join(verdict["reasons"]) or "not kept"
        count = len(captions.get(clip["id"], ()))
        yield _check_row(clip["id"], size, count, shapes, notes, dropped=dropped)


def check_external(
    clips: Sequence[ExternalClip], shapes: TrainingShapes, pool: DecodePool, progress: Bar
) -> Iterator[CheckRow]:
    """Check every clip of a data set in another trainer's layout; each file is decoded once.

    A row of an index that gives no clip is `unreadable`, with the reason.
    """
    shared = Counter(text for clip in clips for text in set(clip.captions))
    seen: set[tuple[Path, str]] = set()
    readable = [clip for clip in clips if not clip.error]
    results = pool.map(probe_media, ((clip.path, clip.member, clip.span) for clip in readable))
    for clip in clips:
        name = printable(clip.name or clip.path.name)
        notes = list(clip.notes)
        result = None if clip.error else next(results)[1]
        progress.advance()
        if result is None or isinstance(result, Failure):
            why = clip.error if result is None else result.message
            yield _unreadable(name, why, clip, notes)
            continue
        notes += [*_stated_mismatches(clip, result), *_trainer_pitfalls(result, shapes)]
        if (clip.path, clip.member) in seen:
            notes.append("listed twice")
        seen.add((clip.path, clip.member))
        most = max((shared[text] for text in clip.captions), default=0)
        if most >= SHARED_BY:
            notes.append(f"{most} files share its caption")
        frames = num_frames_at(shapes.fps, result.seconds) if result.fps else 1
        size = (frames, result.height, result.width)
        yield _check_row(name, size, len(clip.captions), shapes, notes)


def _unreadable(name: str, why: str, clip: ExternalClip, notes: Sequence[str]) -> CheckRow:
    return CheckRow(
        name,
        "unreadable",
        printable(why),
        captions=len(clip.captions),
        notes=printable("; ".join(notes)),
    )


def _check_row(
    name: str,
    size: tuple[int, int, int],
    num_captions: int,
    shapes: TrainingShapes,
    notes: Iterable[str],
    *,
    dropped: str = "",
) -> CheckRow:
    """The row of a clip of (frames, height, width) at the training rate."""
    bucket = clip_bucket(shapes.buckets, *size)
    whole = floor_frames(size[0])
    state, why = "in", ""
    if dropped:
        state, why = "dropped", dropped
    elif bucket is None:
        state, why = "no bucket", why_no_bucket(shapes.buckets, *size)
    elif not num_captions:
        state, why = "no caption", "train-dit leaves it out, train-vae takes it"
    notes = list(notes)
    if bucket and whole < size[0]:
        notes.append(f"{size[0] - whole} frames past 4n+1")
    return CheckRow(
        name=name,
        state=state,
        why=why,
        bucket=bucket_name(bucket) if bucket else "",
        frames=size[0],
        whole=whole,
        used=bucket.frames if bucket else 0,
        width=size[2],
        height=size[1],
        captions=num_captions,
        notes=printable("; ".join(notes)),
    )


def _stated_mismatches(clip: ExternalClip, media: MediaInfo) -> Iterator[str]:
    """Values that the index file states and the decoded file contradicts."""
    measured: Mapping[str, Any] = {
        "num_frames": media.num_frames,
        "fps": media.fps,
        "height": media.height,
        "width": media.width,
    }
    for key, value in clip.stated.items():
        slack = 0.01 * value if key == "fps" else 0
        if abs(measured[key] - value) > slack:
            yield f"{key} stated {value:g}, is {measured[key]:g}"


def _trainer_pitfalls(media: MediaInfo, shapes: TrainingShapes) -> Iterator[str]:
    """Properties of the file that other trainers are known to handle wrongly."""
    if media.fps and abs(media.fps - shapes.fps) > 0.01:
        yield (
            f"{media.fps:.4g} fps, training at {shapes.fps:g}: trainers that do not retime "
            f"see it at {shapes.fps / media.fps:.2g} of its speed"
        )
    if media.vfr:
        yield "variable frame rate: counts from header and decoder differ"
    if media.rotated:
        yield "rotated by a flag"
    if media.non_square_pixels:
        yield "pixels are not square"
