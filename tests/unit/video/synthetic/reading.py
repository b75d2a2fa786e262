"""Reads a synthetic file as `curate` does, and as the `ffmpeg` command does."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.unit.video.synthetic.recipes import HEIGHT, WIDTH, number_of
from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.video.decode import read_clip, read_frames
from wanctl.video.frames import FrameRange, FrameSpec, range_of
from wanctl.video.probe import Scan, ScanBounds, scan
from wanctl.video.stream import open_video

BOUNDS = ScanBounds(max_damaged=0.5, max_unplaced=0.1)
RULES = SplitRules(trim_frames=0, min_clip_s=0.0, max_clip_s=1.0)


@dataclass(frozen=True)
class FramesRead:
    """What was read of a file.

    Attributes:
        scan: of the file.
        rows: of its clips.
        frames: (N, 64, 96) uint8 luma of the frames of all clips, one after the other.
        index: (N,) index of each among all frames of the file.
        whole: (M, 64, 96, 3) uint8, every frame of the file, as sampling reads it.
    """

    scan: Scan
    rows: list[dict]
    frames: np.ndarray
    index: np.ndarray
    whole: np.ndarray

    @property
    def numbers(self) -> list[int]:
        """The numbers that the frames of the clips show."""
        return [number_of(frame) for frame in self.frames]


def read(path: Path) -> FramesRead:
    """Scan a file, cut it into clips, and read every frame of every clip, the last one first.

    Raises:
        VideoError: the file is refused.
    """
    found = scan(path, 30, BOUNDS)
    rows = make_clips(found, str(path), [], RULES).rows
    size = (found.info.width, found.info.height)
    parts, index = [], []
    for row in reversed(rows):
        spec = FrameSpec(fps=1000, color="gray")
        span = (row["start_pts"], row["end_pts"])
        (batch,) = read_clip(path, *span, [spec], *size, range_of(row))
        assert len(batch.frames) == row["num_frames"], row
        parts.insert(0, batch.frames)
        index.insert(0, row["first_frame"] + np.arange(row["num_frames"]))
    frame_range = FrameRange(found.info.clock, 0, len(found.pts))
    whole = read_frames(path, found.pts.tolist(), frame_range)
    return FramesRead(found, rows, np.concatenate(parts), np.concatenate(index), whole)


def ffmpeg_command() -> str | None:
    """The `ffmpeg` command: an installed one, or the one that $FFMPEG names."""
    return os.environ.get("FFMPEG") or shutil.which("ffmpeg")


def shown_by_ffmpeg(command: str, path: Path) -> np.ndarray:
    """(N, 64, 96) uint8 luma of every frame that the command shows of the film."""
    with open_video(path) as (_, stream):
        index = stream.index
    arguments = ["-v", "quiet", "-i", str(path), "-map", f"0:{index}", "-fps_mode", "passthrough"]
    output = ["-vf", "scale=out_range=full,format=gray", "-f", "rawvideo", "-"]
    raw = subprocess.run([command, *arguments, *output], capture_output=True, check=False).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)
