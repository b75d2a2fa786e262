"""Preview files of a run: the model's output for fixed inputs, named by step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from wanctl.tasks.pixels import to_uint8
from wanctl.video.encode import write_png, write_video

SHOWN_FRAMES = 5
GAP_PX = 2


def to_uint8_frames(video: Tensor) -> np.ndarray:
    """(3, T, H, W) in [-1, 1] -> (T, H, W, 3) uint8."""
    return to_uint8(video.detach().float()).permute(1, 2, 3, 0).cpu().numpy()


def contact_sheet(rows: Sequence[np.ndarray], shown: int = SHOWN_FRAMES) -> np.ndarray:
    """An image with one video per row and `shown` evenly spaced frames of it side by side.

    Args:
        rows: videos (T, H, W, 3) uint8, all of one frame size.
        shown: columns; a shorter video leaves its last columns black.
    """
    _, height, width, _ = rows[0].shape
    shown = min(shown, max(len(video) for video in rows))
    sheet_height = len(rows) * (height + GAP_PX) - GAP_PX
    sheet_width = shown * (width + GAP_PX) - GAP_PX
    sheet = np.zeros((sheet_height, sheet_width, 3), dtype=np.uint8)
    for row, video in enumerate(rows):
        top = row * (height + GAP_PX)
        columns = min(shown, len(video))
        indices = np.linspace(0, len(video) - 1, columns).round().astype(int)
        for column, index in enumerate(indices):
            left = column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = video[index]
    return sheet


def write_preview(
    folder: Path, step: int, videos: Sequence[np.ndarray], fps: float, captions: Sequence[str]
) -> list[Path]:
    """Write a contact sheet of all videos, and each one as mp4 (a single frame only as PNG).

    Args:
        folder: receives the files.
        step: names the files, `step-000500.png`, `step-000500-1.mp4`.
        videos: (T, H, W, 3) uint8, one frame size.
        fps: frame rate of the mp4 files.
        captions: one per video; kept in the files' metadata.
    """
    stem = f"step-{step:06d}"
    metadata = {"step": str(step), "captions": "\n".join(captions)}
    paths = [folder / f"{stem}.png"]
    write_png(paths[0], contact_sheet(videos), metadata)
    for index, (video, caption) in enumerate(zip(videos, captions, strict=True), start=1):
        if len(video) > 1:
            paths.append(folder / f"{stem}-{index}.mp4")
            write_video(paths[-1], video, fps, metadata={"step": str(step), "caption": caption})
    return paths
