"""Sprite sheets of clips: a few frames side by side in one WebP, for pages that need no server.

A page moves the sprite sheet along under a window. That plays in every browser, can stop at any
frame, and takes a fifth of the bytes of the same frames as an animated image.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.atomic import write_bytes
from wanctl.log import progress
from wanctl.video.decode import read_clip
from wanctl.video.frames import FrameRange, FrameSpec, range_of
from wanctl.video.workers.worker_pool import DecodePool, Failure

FOLDER = "thumbs"


@dataclass(frozen=True)
class SpriteSpec:
    """Frames, size and quality of a sprite sheet.

    Attributes:
        frames: number of frames side by side.
        long_side_px: of one frame.
        quality: of the WebP, 0 to 100.
    """

    frames: int
    long_side_px: int
    quality: int


# 21 kB a clip on real footage, where JPEG of the same quality takes 34 kB
THUMBNAIL = SpriteSpec(frames=12, long_side_px=224, quality=45)


def render_sprite(
    source: str,
    start_pts: int,
    end_pts: int,
    width: int,
    height: int,
    frame_range: FrameRange | None,
    spec: SpriteSpec,
) -> bytes:
    """Decode a clip and encode its sprite sheet. Runs in a decode worker."""
    frames = FrameSpec(count=spec.frames, long_side_px=spec.long_side_px)
    (batch,) = read_clip(source, start_pts, end_pts, [frames], width, height, frame_range)
    return encode_sprite(batch.frames, spec)


def encode_sprite(frames: np.ndarray, spec: SpriteSpec = THUMBNAIL) -> bytes:
    """Encode (N, H, W, 3) uint8 frames as WebP; where there are fewer than wanted, each repeats."""
    take = np.arange(spec.frames) * len(frames) // spec.frames
    buffer = io.BytesIO()
    sheet = Image.fromarray(np.hstack(list(frames[take])))
    sheet.save(buffer, "WEBP", quality=spec.quality, method=4)
    return buffer.getvalue()


def render_sprites(
    clips: Sequence[Mapping[str, Any]], spec: SpriteSpec, pool: DecodePool, title: str
) -> Iterable[tuple[str, bytes]]:
    """Yield (clip id, sprite sheet) of rows of the clips table, as workers finish them.

    Clips that cannot be decoded are left out.

    Args:
        clips: rows of the clips table.
        spec: of the sprite sheets.
        pool: decodes the clips.
        title: of the progress bar.
    """
    keys = ("source", "start_pts", "end_pts", "width", "height")
    tasks = ((*(clip[key] for key in keys), range_of(clip), spec) for clip in clips)
    with progress(len(clips), title) as bar:
        for index, result in pool.map(render_sprite, tasks, ordered=False):
            if not isinstance(result, Failure):
                yield clips[index]["id"], result
            bar.advance()


def collect_thumbnails(
    dataset_path: Path, clips: Sequence[Mapping[str, Any]], pool: DecodePool
) -> dict[str, bytes]:
    """Clip id -> thumbnail; clips that cannot be decoded have none.

    Args:
        dataset_path: the data set directory; thumbnails of earlier runs are read from it.
        clips: rows of the clips table.
        pool: decodes the other clips.
    """
    folder = dataset_path / FOLDER
    folder.mkdir(exist_ok=True)
    files = {clip["id"]: folder / f"{clip['id']}.webp" for clip in clips}
    missing = [clip for clip in clips if not files[clip["id"]].exists()]
    for name, sprite in render_sprites(missing, THUMBNAIL, pool, "thumbnails for the report"):
        write_bytes(files[name], sprite)
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}
