"""Control videos that a user made of the clips: depth, pose and whatever else needs a network.

`wanctl data export` writes each clip as ID.mp4 at the training frame rate; what a network makes of
these files, frame by frame, is found by the recipe's patterns.
"""

from itertools import islice
from pathlib import Path

import numpy as np

from wanctl.errors import UserError
from wanctl.train.dit.vace.options import ControlOptions
from wanctl.train.inputs.windows import ClipWindow
from wanctl.video.opening import VideoError
from wanctl.video.orientation import UPRIGHT
from wanctl.video.stream import FrameConverter, decode_frames, open_video

CONTROL_VIDEO = "control_video"
CLIP = "{clip}"
KEY = "train_dit.vace.control_videos"


def find_control_videos(options: ControlOptions, clip: str) -> list[Path]:
    """The files of a clip that exist, in the order of the recipe's patterns."""
    paths = [Path(each.replace(CLIP, clip)).expanduser() for each in options.control_videos]
    return [path for path in paths if path.is_file()]


def file_version(path: Path) -> str:
    """What changes with the content of a file, for the key of what was computed from it."""
    found = path.stat()
    return f"{path.name}:{found.st_size}:{found.st_mtime_ns}"


def read_control_video(path: Path, start: int, end: int) -> np.ndarray:
    """Frames of a control video, (frames, H, W, 3) uint8 RGB of its own size.

    Args:
        path: the file.
        start: first frame.
        end: after the last.

    Raises:
        UserError: it cannot be read, or ends before.
    """
    converter = FrameConverter(UPRIGHT)
    try:
        with open_video(path) as (container, stream):
            frames = [
                converter.convert(frame, frame.width, frame.height, how="BICUBIC")
                for frame in islice(decode_frames(container, stream), start, end)
            ]
    except VideoError as error:
        raise UserError(f"{KEY}: {error}") from None
    if len(frames) < end - start:
        raise UserError(
            f"{KEY}: {path}: has {start + len(frames)} frames, frames {start} to {end - 1} are "
            "needed; it must have those of the clip as `wanctl data export` writes it, at "
            "train_dit.clip_fps"
        )
    return np.stack(frames)


def no_control_video(options: ControlOptions, place: ClipWindow | None) -> UserError:
    """The error of a clip without a control video where nothing else is drawn."""
    clip = "a window" if place is None else f"clip {place.clip}"
    return UserError(
        f"{KEY}: {clip}: no file {' or '.join(options.control_videos)}; make it, or give another "
        "kind of train_dit.vace.kinds a weight"
    )
