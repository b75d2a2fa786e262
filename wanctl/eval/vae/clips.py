"""Which clips VAEs are compared on: footage that the user names, or those of a data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.data.batches.holdout import hold_out
from wanctl.data.buckets import BucketLike, clip_buckets
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import crop_of, frames_of, kept_clips
from wanctl.errors import UserError
from wanctl.eval.vae.windows import Clip
from wanctl.log import log
from wanctl.video.footage import list_footage
from wanctl.video.frames import Span, range_of
from wanctl.video.sources import SourceFile, url_of


class ClipsError(UserError):
    """There is nothing to compare VAEs on."""


def named_clips(names: Sequence[str]) -> list[Clip]:
    """One clip per video file.

    Args:
        names: files and folders, which are searched at every depth.

    Raises:
        ClipsError: a name that does not exist.
        UserError: a folder that cannot be listed or holds no footage.
    """
    files: dict[str, SourceFile] = {}
    for name in names:
        path = Path(name).expanduser()
        if url_of(name) is None and path.is_file():
            info = path.stat()
            listed = [SourceFile(str(path.absolute()), info.st_size, info.st_mtime_ns)]
        elif url_of(name) is None and not path.exists():
            raise ClipsError(f"--clips: {name}: no such file or folder")
        else:
            listing = list_footage(name)
            listed = listing.videos
            for where, _, why in listing.problems:
                log.warning("%s is skipped: %s", where, why)
        files.update((file.uri, file) for file in listed)
    stems = [Path(uri).stem or uri for uri in files]
    return [
        Clip(name, file.uri, f"{file.size}:{file.mtime_ns}")
        for name, file in zip(_unique(stems), files.values(), strict=True)
    ]


def dataset_clips(dataset: DatasetDir, selection: str, held_out: set[str] | None) -> list[Clip]:
    """The kept clips of a data set.

    Args:
        dataset: the data set.
        selection: name of the selection.
        held_out: only these ids; None: all of them.

    Raises:
        ClipsError: there is no such clip.
        DatasetError: there is no such selection.
    """
    rows = kept_clips(dataset, selection)
    rows = [row for row in rows if held_out is None or row["id"] in held_out]
    if not rows:
        raise ClipsError(
            f"{dataset.path}: selection {selection!r} keeps no clip; name footage with --clips"
        )
    return [_clip(row) for row in rows]


def held_out_ids(
    dataset: DatasetDir,
    selection: str,
    buckets: Sequence[BucketLike],
    fps: float,
    share: float,
    by: str,
) -> set[str]:
    """Ids of the clips that `wanctl train-vae` holds out of training; empty where it holds none.

    Args:
        dataset: the data set.
        selection: name of the selection.
        buckets: training shapes; clips that serve none are not trained on.
        fps: frame rate of training.
        share: `train_vae.holdout`.
        by: `train_vae.holdout_by`.
    """
    rows = kept_clips(dataset, selection)
    serving = [row for row in rows if clip_buckets(buckets, frames_of(row, fps), *_size(row)[::-1])]
    flags = hold_out(serving, share, by).flags
    return {row["id"] for row, held in zip(serving, flags, strict=True) if held}


def spread(clips: Sequence[Clip], most: int) -> list[Clip]:
    """At most so many of the clips, evenly spaced in their order."""
    if len(clips) <= most:
        return list(clips)
    return [clips[index * len(clips) // most] for index in range(most)]


def _clip(row: Mapping[str, Any]) -> Clip:
    tick_s = row["time_base_num"] / row["time_base_den"]
    return Clip(
        name=row["id"],
        source=row["source"],
        identity=row["content_hash"],
        span=Span((row["start_pts"], row["end_pts"]), range_of(row)),
        crop=crop_of(row),
        fps=row["fps"],
        size=(row["width"], row["height"]),
        duration_s=(row["end_pts"] - row["start_pts"]) * tick_s,
    )


def _size(row: Mapping[str, Any]) -> tuple[int, int]:
    """(width, height) of a kept clip after its crop."""
    crop = crop_of(row)
    return (crop.width, crop.height) if crop else (row["width"], row["height"])


def _unique(names: Sequence[str]) -> list[str]:
    """The names; of equal ones the second becomes `NAME-2`, and so on."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return unique
