"""Clips as files: exact by PTS, cropped, resampled, resumable."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.data.atomic import write_bytes
from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.data.encode import read_metadata, write_video
from wanctl.data.frames import Box
from wanctl.data.reads import frames_at, iter_window
from wanctl.data.worker import DecodePool, Failure
from wanctl.log import Bar, log
from wanctl.model.shapes import floor_frames

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
        caption: empty where the clip has none.
    """

    id: str
    path: Path
    num_frames: int
    height: int
    width: int
    fps: float
    caption: str


@dataclass(frozen=True)
class ExportFormat:
    """What exported files look like.

    Attributes:
        fps: resampled to this.
        height: with `width`: resized to cover, centre crop; None keeps the clip's own size.
        width: see `height`.
        crf: H.264 quality; 10 is near lossless.
        whole_latents: cut the end off so that the frame count is 4n+1.
    """

    fps: float
    height: int | None = None
    width: int | None = None
    crf: int = 16
    whole_latents: bool = False


def export_clips(
    dataset: DatasetDir,
    selection: str,
    folder: Path,
    *,
    form: ExportFormat,
    pool: DecodePool,
    captions: Mapping[str, str] | None = None,
    ids: Iterable[str] | None = None,
    progress: Bar | None = None,
) -> list[ClipFile]:
    """Write the kept clips of a selection as mp4 files, and `clips.csv` beside them.

    Files that an earlier run finished are kept. A clip that cannot be read is left out, with a
    warning.

    Args:
        dataset: where the clips are listed.
        selection: name of the selection.
        folder: gets `ID.mp4` per clip and `clips.csv`.
        form: frame rate, size and quality.
        pool: worker processes that decode.
        captions: clip id -> text; None takes each clip's first caption in the data set.
        ids: only these clips.
        progress: moved on by one per clip.

    Raises:
        DatasetError: there is no such selection.
        WriteError: the folder cannot be written.
    """
    clips = _kept(dataset, selection, None if ids is None else set(ids))
    texts = first_captions(dataset) if captions is None else captions
    plans = [_plan(clip, folder, form) for clip in clips]
    todo = [plan for plan in plans if not _finished(plan)]
    failed = {}
    for index, result in pool.map(write_clip, ((plan,) for plan in todo)):
        if isinstance(result, Failure):
            failed[todo[index].id] = result
            log.warning("%s: clip %s: not exported: %s", selection, todo[index].id, result.message)
        if progress:
            progress.advance()
    if progress:
        progress.advance(len(plans) - len(todo))
    files = [plan.file(texts.get(plan.id, "")) for plan in plans if plan.id not in failed]
    _write_csv(folder, files)
    return files


def first_captions(dataset: DatasetDir) -> dict[str, str]:
    """Clip id -> its first caption, from the caption tables in the order of their names."""
    texts: dict[str, str] = {}
    for table in dataset.tables("captions"):
        for row in dataset.read(table, ["id", "text"]).to_pylist():
            texts.setdefault(row["id"], row["text"])
    return texts


@dataclass(frozen=True)
class ClipPlan:
    """One file to write; sent to a worker."""

    id: str
    source: Path
    span_pts: tuple[int, int]
    crop: Box | None
    form: ExportFormat
    path: Path
    num_frames: int
    height: int
    width: int

    @property
    def key(self) -> str:
        """Everything that decides the file's pixels, as kept in its metadata."""
        form = self.form
        return json.dumps(
            [self.id, self.crop, form.fps, self.height, self.width, form.crf, self.num_frames]
        )

    def file(self, caption: str) -> ClipFile:
        """The file as it will be."""
        size = (self.height, self.width, self.form.fps)
        return ClipFile(self.id, self.path, self.num_frames, *size, caption)


def write_clip(plan: ClipPlan) -> None:
    """Decode, cut, encode one clip. Runs in a worker."""
    form = plan.form
    frames = iter_window(
        plan.source,
        *plan.span_pts,
        fps=form.fps,
        frames=plan.num_frames,
        size=(plan.height, plan.width) if form.height else None,
        crop=plan.crop,
    )
    even = _even_sides(frames) if form.height is None else frames
    write_video(plan.path, even, form.fps, crf=form.crf, metadata={_KEY: plan.key})


def _even_sides(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    # cutting a row loses nothing; the encoder would have to invent one
    for frame in frames:
        yield frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _kept(dataset: DatasetDir, selection: str, ids: set[str] | None) -> list[dict[str, Any]]:
    table = f"selections/{selection}"
    if not dataset.has_part(table, ""):
        names = ", ".join(t.split("/")[1] for t in dataset.tables("selections")) or "none"
        raise DatasetError(
            f"{dataset.path}: no selection named {selection!r} (there are: {names}); "
            "`wanctl curate` or `wanctl data select` makes it"
        )
    verdicts = {row["id"]: row for row in dataset.read(table).to_pylist() if row["kept"]}
    return [
        {**clip, **verdicts[clip["id"]]}
        for clip in dataset.read("clips").to_pylist()
        if clip["id"] in verdicts and (ids is None or clip["id"] in ids)
    ]


def _plan(clip: Mapping[str, Any], folder: Path, form: ExportFormat) -> ClipPlan:
    crop = None
    if clip["crop_w"]:
        crop = Box(clip["crop_x"], clip["crop_y"], clip["crop_w"], clip["crop_h"])
    width, height = (crop.width, crop.height) if crop else (clip["width"], clip["height"])
    tick_s = clip["time_base_num"] / clip["time_base_den"]
    count = frames_at(form.fps, (clip["end_pts"] - clip["start_pts"]) * tick_s)
    return ClipPlan(
        id=clip["id"],
        source=Path(clip["source"]),
        span_pts=(clip["start_pts"], clip["end_pts"]),
        crop=crop,
        form=form,
        path=folder / f"{clip['id']}.mp4",
        num_frames=floor_frames(count) if form.whole_latents else count,
        height=form.height or height // 2 * 2,
        width=form.width or width // 2 * 2,
    )


def _finished(plan: ClipPlan) -> bool:
    return plan.path.exists() and read_metadata(plan.path).get(_KEY) == plan.key


def _write_csv(folder: Path, files: Iterable[ClipFile]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "caption", "id", "num_frames", "height", "width", "fps"])
    for file in files:
        row = (file.id, file.num_frames, file.height, file.width, file.fps)
        writer.writerow([file.path.name, file.caption, *row])
    write_bytes(folder / "clips.csv", text.getvalue().encode())
