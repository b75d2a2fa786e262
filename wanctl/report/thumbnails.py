"""Small moving pictures of clips, for pages that need no server; made once and kept.

A picture is one image of all frames side by side, which a page moves along under a window: it
plays in every browser, costs a fifth of the same frames as an animated image, and stops at any.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.atomic import write_bytes
from wanctl.log import progress
from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameSpec
from wanctl.video.worker_pool import DecodePool, Failure

FRAMES = 12
LONG_SIDE_PX = 224
# 21 kB a picture on real clips, where JPEG of the same look takes 34 kB
QUALITY = 45
FOLDER = "thumbs"


def make_sprite(source: str, start_pts: int, end_pts: int, width: int, height: int) -> bytes:
    """WebP of the frames side by side, in the clip's order. Runs in a decode worker."""
    spec = FrameSpec(count=FRAMES, long_side_px=LONG_SIDE_PX)
    (batch,) = read_clip(source, start_pts, end_pts, [spec], width, height)
    return encode_sprite(batch.frames)


def encode_sprite(frames: np.ndarray) -> bytes:
    """(N, H, W, 3) uint8 as a strip of `FRAMES`; fewer ones are each shown for longer."""
    take = np.arange(FRAMES) * len(frames) // FRAMES
    buffer = io.BytesIO()
    Image.fromarray(np.hstack(list(frames[take]))).save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()


def collect_sprites(
    dataset_path: Path, clips: Sequence[Mapping[str, Any]], pool: DecodePool
) -> dict[str, bytes]:
    """Clip id -> picture; clips that cannot be decoded have none.

    Args:
        dataset_path: the data set directory; pictures that were made before lie there.
        clips: rows of the clips table.
        pool: decodes the others.
    """
    folder = dataset_path / FOLDER
    folder.mkdir(exist_ok=True)
    files = {clip["id"]: folder / f"{clip['id']}.webp" for clip in clips}
    todo = [clip for clip in clips if not files[clip["id"]].exists()]
    tasks = ((c["source"], c["start_pts"], c["end_pts"], c["width"], c["height"]) for c in todo)
    with progress(len(todo), "pictures for the report") as bar:
        for index, result in pool.map(make_sprite, tasks, ordered=False):
            if not isinstance(result, Failure):
                write_bytes(files[todo[index]["id"]], result)
            bar.advance()
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}
