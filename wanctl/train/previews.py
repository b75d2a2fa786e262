"""Preview files of a run: the model's output for fixed inputs, named by step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from wanctl.escaping import one_line
from wanctl.tasks.pixels import to_uint8
from wanctl.train.objective import Preview
from wanctl.video.encode import read_metadata, write_png, write_video

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
        for column, frame in enumerate(shown_frames(video, shown)):
            left = column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = frame
    return sheet


def preview_sheet(folder: Path, step: int) -> Path:
    """File of the contact sheet of a step: `step-000500.png`."""
    return folder / f"step-{step:06d}.png"


def sheet_captions(path: Path) -> list[str]:
    """Captions of a contact sheet, one line each; none where another program wrote the file."""
    return read_metadata(path).get("captions", "").split("\n")


def preview_video(folder: Path, step: int, number: int) -> Path:
    """File of the video of preview `number`, from 1: `step-000500-1.mp4`."""
    return folder / f"step-{step:06d}-{number}.mp4"


def write_preview_video(folder: Path, step: int, number: int, preview: Preview) -> None:
    """Write one preview as mp4; a single frame has its place in the contact sheet only."""
    if len(preview.video) > 1:
        metadata = {"step": str(step), "caption": one_line(preview.caption)}
        path = preview_video(folder, step, number)
        write_video(path, preview.video, preview.fps, metadata=metadata)


def write_preview_sheet(
    folder: Path, step: int, videos: Sequence[np.ndarray], captions: Sequence[str]
) -> Path:
    """Write the contact sheet of all previews of a step, `step-000500.png`.

    Args:
        folder: receives the file.
        step: names it.
        videos: (T, H, W, 3) uint8, one frame size.
        captions: one per video; kept in the file's metadata, a line each.
    """
    path = preview_sheet(folder, step)
    metadata = {"step": str(step), "captions": "\n".join(map(one_line, captions))}
    write_png(path, contact_sheet(videos), metadata)
    return path


def shown_frames(video: np.ndarray, shown: int = SHOWN_FRAMES) -> np.ndarray:
    """Up to `shown` evenly spaced frames of a video (T, H, W, 3), the first and last included."""
    columns = min(shown, len(video))
    return video[np.linspace(0, len(video) - 1, columns).round().astype(int)]
