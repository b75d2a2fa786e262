"""Clips as files: exact by PTS, cropped, resampled, encoded once, resumable."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.data.export_index import ExportIndex
from wanctl.log import Bar, log
from wanctl.model.shapes import floor_frames
from wanctl.video.decode import iter_window, num_frames_at
from wanctl.video.encode import read_metadata, write_video
from wanctl.video.frames import Box, Span, range_of, span_key, trimmed
from wanctl.video.stream import VideoError
from wanctl.video.workers.worker_pool import DecodePool, Failure

_KEY = "wanctl_export"


@dataclass(frozen=True)
class ClipFile:
    """One exported clip.

    Attributes:
        id: of the clip.
        path: mp4.
        num_frames: in the file, at `fps`.
        height: pixels.
        width: pixels.
        fps: frames per second.
    """

    id: str
    path: Path
    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class ExportFormat:
    """Frame rate, size and quality of exported files.

    Attributes:
        fps: resampled to this.
        height: with `width`: resized to cover, centre crop; None keeps the clip's own size.
        width: see `height`.
        crf: H.264 quality; 10 is near lossless.
        trim_to_latents: cut the end off so that the frame count is 4n+1.
    """

    fps: float
    height: int | None
    width: int | None
    crf: int
    trim_to_latents: bool


@dataclass(frozen=True)
class ClipPlan:
    """One file to write; it is sent to a worker."""

    id: str
    source: str
    span: Span
    span_key: list[int]
    crop: Box | None
    form: ExportFormat
    path: Path
    num_frames: int
    height: int
    width: int

    @property
    def key(self) -> str:
        """Everything that decides the file's pixels, as stored in its metadata."""
        form = self.form
        what = [self.id, self.crop, form.fps, self.height, self.width, form.crf, self.num_frames]
        return json.dumps([*what, *self.span_key])

    @property
    def file(self) -> ClipFile:
        """The file that the plan writes."""
        return ClipFile(self.id, self.path, self.num_frames, self.height, self.width, self.form.fps)


def export_clips(
    dataset: DatasetDir,
    selection: str,
    folder: Path,
    *,
    form: ExportFormat,
    pool: DecodePool,
    ids: Iterable[str] | None = None,
    progress: Bar | None = None,
) -> list[ClipFile]:
    """Write the kept clips of a selection as `ID.mp4`.

    Files that an earlier run finished are kept; `index.jsonl` in `folder` lists them, so that they
    are not opened again. A clip that cannot be read is left out, with a warning.

    Args:
        dataset: where the clips are listed.
        selection: name of the selection.
        folder: gets the files.
        form: frame rate, size and quality.
        pool: worker processes that decode.
        ids: only these clips.
        progress: advanced by one per clip.

    Raises:
        DatasetError: there is no such selection.
        WriteError: the folder cannot be written.
    """
    clips = kept_clips(dataset, selection)
    if ids is not None:
        requested = set(ids)
        clips = [clip for clip in clips if clip["id"] in requested]
    plans = [plan_clip(clip, folder, form) for clip in clips]
    cut = cut_clips(plans, pool, progress, index=ExportIndex(folder))
    return [plan.file for plan, why in cut if not why]


def kept_clips(dataset: DatasetDir, selection: str) -> list[dict[str, Any]]:
    """Rows of the kept clips, each with its verdict; a clip of several parts comes once.

    Times and PTS are those of the span that the selection keeps (`wanctl.video.frames.trimmed`).

    Raises:
        DatasetError: there is no such selection, or a part of the clips is missing.
    """
    table = f"selections/{selection}"
    if not dataset.has_part(table, ""):
        names = ", ".join(t.split("/")[1] for t in dataset.tables("selections")) or "none"
        raise DatasetError(
            f"{dataset.path}: no selection named {selection!r} (there are: {names}); "
            "`wanctl curate` or `wanctl data select` makes it"
        )
    verdicts = {row["id"]: row for row in kept_rows(dataset, selection).to_pylist()}
    kept = [
        trimmed({**clip, **verdicts[clip["id"]]})
        for clip in dataset.clips().to_pylist()
        if clip["id"] in verdicts
    ]
    if lost := len(verdicts) - len(kept):
        report_lost(dataset, selection, lost)
    return kept


def report_lost(dataset: DatasetDir, selection: str, lost: int) -> None:
    """Say that kept clips of a selection are not among the clips.

    Raises:
        DatasetError: no file of footage is gone, so that a part of the clips must be missing.
    """
    if not dataset.removed:
        raise DatasetError(
            f"{dataset.path}: {lost} clips that selection {selection!r} keeps are not in clips/: "
            "a part is missing; `wanctl curate FOLDER` makes it again"
        )
    log.warning(
        "%d clips that selection %r keeps are left out: their footage is gone or was replaced; "
        "`wanctl data select` decides again", lost, selection,
    )  # fmt: skip


def kept_ids(dataset: DatasetDir, selection: str) -> list[str]:
    """Ids of the clips that a selection keeps, in its order; empty where there is none."""
    return kept_rows(dataset, selection, ["id"])["id"].to_pylist()


def kept_rows(
    dataset: DatasetDir, selection: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of a selection whose clips are kept, in its order; none where there is no selection.

    Args:
        dataset: the data set.
        selection: name of the selection.
        columns: only these columns of the selection; None: all.
    """
    read = None if columns is None else list(dict.fromkeys([*columns, "kept"]))
    rows = dataset.read(f"selections/{selection}", read)
    kept = rows.filter(rows["kept"])
    return kept if columns is None else kept.select(columns)


def plan_clip(clip: Mapping[str, Any], folder: Path, form: ExportFormat) -> ClipPlan:
    """Plan the file of one row of `kept_clips`."""
    crop = crop_of(clip)
    width, height = (crop.width, crop.height) if crop else (clip["width"], clip["height"])
    count = frames_of(clip, form.fps)
    return ClipPlan(
        id=clip["id"],
        source=clip["source"],
        span=Span((clip["start_pts"], clip["end_pts"]), range_of(clip)),
        span_key=span_key(clip),
        crop=crop,
        form=form,
        path=folder / f"{clip['id']}.mp4",
        num_frames=floor_frames(count) if form.trim_to_latents else count,
        height=form.height or height // 2 * 2,
        width=form.width or width // 2 * 2,
    )


def crop_of(clip: Mapping[str, Any]) -> Box | None:
    """The crop of a row of a selection; None where it has none."""
    if not clip["crop_w"]:
        return None
    return Box(clip["crop_x"], clip["crop_y"], clip["crop_w"], clip["crop_h"])


def frames_of(clip: Mapping[str, Any], fps: float) -> int:
    """Frames of a row of `kept_clips` at another frame rate."""
    tick_s = clip["time_base_num"] / clip["time_base_den"]
    return num_frames_at(fps, (clip["end_pts"] - clip["start_pts"]) * tick_s)


def cut_clips(
    plans: Sequence[ClipPlan],
    pool: DecodePool,
    progress: Bar | None = None,
    *,
    index: ExportIndex | None = None,
) -> Iterator[tuple[ClipPlan, str]]:
    """Write the files that are not there yet.

    Args:
        plans: the files.
        pool: worker processes that decode.
        progress: advanced by one per file.
        index: lists finished files; None: every file that is there is opened for its key.

    Yields:
        (plan, why it could not be written, "" where it is there), in the order of `plans`.
    """
    todo = [plan for plan in plans if not _finished(plan, index)]
    results = pool.map(write_clip, ((plan,) for plan in todo))
    left = {plan.id for plan in todo}
    for plan in plans:
        why = ""
        if plan.id in left:
            _, result = next(results)
            if isinstance(result, Failure):
                why = result.message
                log.warning("clip %s: not exported: %s", plan.id, why)
            elif index is not None:
                index.add(plan.id, plan.key, plan.path)
        if progress:
            progress.advance()
        yield plan, why


def write_clip(plan: ClipPlan) -> None:
    """Decode, cut, encode one clip. Runs in a worker."""
    form = plan.form
    frames = iter_window(
        plan.source,
        *plan.span.pts,
        fps=form.fps,
        frames=plan.num_frames,
        size=(plan.height, plan.width) if form.height else None,
        crop=plan.crop,
        frame_range=plan.span.frame_range,
    )
    even = _even_sides(frames) if form.height is None else frames
    write_video(plan.path, even, form.fps, crf=form.crf, metadata={_KEY: plan.key})


def _even_sides(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    # Yuv420p needs even sides: cutting a row is exact, padding would invent one.
    for frame in frames:
        yield frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _finished(plan: ClipPlan, index: ExportIndex | None) -> bool:
    listed = index.finished(plan.id, plan.key, plan.path) if index is not None else None
    if listed is not None:
        return listed
    try:
        finished = plan.path.exists() and read_metadata(plan.path).get(_KEY) == plan.key
    except VideoError:  # another file of that name
        return False
    if finished and index is not None:
        index.add(plan.id, plan.key, plan.path)
    return finished
