"""Why each clip would be trained on or not, clip by clip: `wanctl data check`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wanctl.data.buckets import BucketLike, bucket_name, clip_bucket, why_no_bucket
from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import crop_of, frames_of
from wanctl.exchange.media import Media, look
from wanctl.exchange.readers import Item
from wanctl.log import Bar
from wanctl.model.shapes import floor_frames
from wanctl.video.decode import frames_at
from wanctl.video.worker_pool import DecodePool, Failure

SHARED_BY = 3
"""A caption that so many files share is told of."""


@dataclass(frozen=True)
class Row:
    """One clip.

    Attributes:
        name: id or file.
        state: `in`, or why not in one word: `dropped`, `no bucket`, `no caption`, `unreadable`.
        why: the reason at length.
        bucket: the longest it serves; "" where it serves none.
        frames: at the training rate.
        whole: the same cut to 4n+1.
        used: of these, frames of that bucket.
        width: pixels, after the crop.
        height: see `width`.
        captions: how many it has.
        notes: what a trainer may stumble over.
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
        """As text, in the order of the attributes."""
        return [str(value) for value in asdict(self).values()]


@dataclass(frozen=True)
class Wanted:
    """What training asks of a clip."""

    buckets: Sequence[BucketLike]
    fps: float


def check_dataset(
    dataset: DatasetDir, selection: str, backends: Sequence[str], wanted: Wanted
) -> Iterator[Row]:
    """Every clip of a data set directory, kept or not; no footage is read."""
    table = f"selections/{selection}"
    verdicts = {row["id"]: row for row in dataset.read(table).to_pylist()}
    captions = read_captions(dataset, backends)
    for clip in dataset.clips().to_pylist():
        verdict = verdicts.get(clip["id"])
        if verdict is None:
            yield Row(clip["id"], "dropped", f"not in selection {selection!r}: select again")
            continue
        crop = crop_of(verdict)
        width, height = (crop.width, crop.height) if crop else (clip["width"], clip["height"])
        size = (frames_of(clip, wanted.fps), height, width)
        notes = ["variable frame rate, retimed by PTS"] if clip["vfr"] else []
        if abs(clip["fps"] - wanted.fps) > 0.01:
            notes.append(f"{clip['fps']:g} fps retimed to {wanted.fps:g}")
        dropped = "" if verdict["kept"] else "; ".join(verdict["reasons"]) or "not kept"
        count = len(captions.get(clip["id"], ()))
        yield _judged(clip["id"], size, count, wanted, notes, dropped=dropped)


def check_items(
    items: Sequence[Item], wanted: Wanted, pool: DecodePool, progress: Bar
) -> Iterator[Row]:
    """Every clip of somebody's layout; each file is decoded once."""
    shared = Counter(text for item in items for text in set(item.captions))
    seen: set[tuple[Path, str]] = set()
    tasks = ((item.path, item.member) for item in items)
    for index, result in pool.map(look, tasks):
        item = items[index]
        name = item.name or item.path.name
        progress.advance()
        if isinstance(result, Failure):
            yield Row(name, "unreadable", result.message, captions=len(item.captions))
            continue
        notes = [*_differences(item, result), *_traps(result, wanted)]
        if (item.path, item.member) in seen:
            notes.append("listed twice")
        seen.add((item.path, item.member))
        most = max((shared[text] for text in item.captions), default=0)
        if most >= SHARED_BY:
            notes.append(f"{most} files share its caption")
        frames = frames_at(wanted.fps, result.seconds) if result.fps else 1
        size = (frames, result.height, result.width)
        yield _judged(name, size, len(item.captions), wanted, notes)


def _judged(
    name: str,
    size: tuple[int, int, int],
    num_captions: int,
    wanted: Wanted,
    notes: Iterable[str],
    *,
    dropped: str = "",
) -> Row:
    """The verdict on a clip of (frames, height, width) at the training rate."""
    bucket = clip_bucket(wanted.buckets, *size)
    whole = floor_frames(size[0])
    state, why = "in", ""
    if dropped:
        state, why = "dropped", dropped
    elif bucket is None:
        state, why = "no bucket", why_no_bucket(wanted.buckets, *size)
    elif not num_captions:
        state, why = "no caption", "train-dit leaves it out, train-vae takes it"
    notes = list(notes)
    if bucket and whole < size[0]:
        notes.append(f"{size[0] - whole} frames past 4n+1")
    return Row(
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
        notes="; ".join(notes),
    )


def _differences(item: Item, media: Media) -> Iterator[str]:
    """Where the layout says something else than the file is."""
    found: Mapping[str, Any] = {
        "num_frames": media.num_frames,
        "fps": media.fps,
        "height": media.height,
        "width": media.width,
    }
    for key, value in item.stated.items():
        slack = 0.01 * value if key == "fps" else 0
        if abs(found[key] - value) > slack:
            yield f"{key} stated {value:g}, is {found[key]:g}"


def _traps(media: Media, wanted: Wanted) -> Iterator[str]:
    """What other trainers are known to stumble over."""
    if media.fps and abs(media.fps - wanted.fps) > 0.01:
        yield (
            f"{media.fps:.4g} fps, training at {wanted.fps:g}: trainers that do not retime "
            f"see it at {wanted.fps / media.fps:.2g} of its speed"
        )
    if media.vfr:
        yield "variable frame rate: counts from header and decoder differ"
    if media.rotated:
        yield "rotated by a flag"
    if media.stretched:
        yield "pixels are not square"
