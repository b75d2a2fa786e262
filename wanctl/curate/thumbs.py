"""Small moving pictures of clips for the report, made once and kept in the data set directory."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.data.atomic import write_bytes
from wanctl.data.frames import FrameSpec
from wanctl.data.reads import read_clip
from wanctl.data.worker import DecodePool, Failure
from wanctl.log import progress

FRAMES = 6
LONG_SIDE_PX = 200
JPEG_QUALITY = 72
FOLDER = "thumbs"


def make_sprite(path: Path, start_pts: int, end_pts: int, width: int, height: int) -> bytes:
    """JPEG of six frames side by side, in the clip's order. Runs in a decode worker."""
    spec = FrameSpec(count=FRAMES, long_side_px=LONG_SIDE_PX)
    (batch,) = read_clip(path, start_pts, end_pts, [spec], width, height)
    # a clip of fewer frames repeats its last one, so that every sprite has six
    take = np.minimum(np.arange(FRAMES), len(batch.frames) - 1)
    buffer = io.BytesIO()
    Image.fromarray(np.hstack(list(batch.frames[take]))).save(
        buffer, "JPEG", quality=JPEG_QUALITY, optimize=True
    )
    return buffer.getvalue()


def collect_sprites(
    dataset_path: Path, clips: Sequence[Mapping[str, Any]], pool: DecodePool
) -> dict[str, bytes]:
    """Clip id -> sprite; clips that cannot be decoded have none."""
    folder = dataset_path / FOLDER
    folder.mkdir(exist_ok=True)
    todo = [clip for clip in clips if not (folder / f"{clip['id']}.jpg").exists()]
    tasks = (
        (Path(c["source"]), c["start_pts"], c["end_pts"], c["width"], c["height"]) for c in todo
    )
    with progress(len(todo), "thumbnails") as bar:
        for index, result in pool.map(make_sprite, tasks):
            if not isinstance(result, Failure):
                write_bytes(folder / f"{todo[index]['id']}.jpg", result)
            bar.advance()
    files = {clip["id"]: folder / f"{clip['id']}.jpg" for clip in clips}
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}
