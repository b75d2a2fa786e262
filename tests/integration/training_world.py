"""A small data set, a VAE and runs of both trainers, for tests of what training refuses.

Four moving squares in two files; the last clip has three frames only.
"""

from pathlib import Path

import numpy as np
import torch

from wanctl.checkpoint.save import save_vae
from wanctl.data.dataset import DatasetDir, clip_id
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.video.encode import write_video
from wanctl.video.probe import scan

SMALL_VAE = VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1)


def moving_square(number, frames, height=40, width=72):
    """(T, H, W, 3) uint8."""
    video = np.full((frames, height, width, 3), 30, dtype=np.uint8)
    for t in range(frames):
        video[t, 4 + t : 20 + t, 3 * number : 18 + 3 * number, number % 3] = 120 + 4 * t
    return video


def add_clip(folder, number, frames):
    """The rows of one clip in the tables of clips, selections and captions."""
    path = folder / f"clip{number // 2}.mp4"
    if not path.exists():
        write_video(path, moving_square(number, 24), 8)
    found = scan(path)
    info, first = found.info, number % 2 * 12
    start, end = int(found.pts[first]), int(found.pts[first + frames - 1] + found.durations[0])
    name = clip_id(info.content_hash, start, end)
    clip = {
        "id": name, "source": str(path), "content_hash": info.content_hash, "shot": number % 2,
        "start_pts": start, "end_pts": end, "time_base_num": info.time_base[0],
        "time_base_den": info.time_base[1], "num_frames": frames, "fps": info.fps,
        "width": info.width, "height": info.height, "rotation": 0, "sar_num": 1, "sar_den": 1,
    }  # fmt: skip
    verdict = {"id": name, "kept": True, "reasons": [], "scores": [], "weight": 1.0}
    text = f"a square, number {number}"
    return clip, verdict, {"id": name, "text": text, "variant": "default", "backend": "sidecar"}


def make_data_set(folder: Path) -> Path:
    """Write footage and its data set below `folder`; returns the data set's folder."""
    dataset = DatasetDir.create_or_open(folder / "dataset")
    rows = [add_clip(folder, number, 12 if number < 3 else 3) for number in range(4)]
    clips, verdicts, captions = zip(*rows, strict=True)
    dataset.write_part("clips", "part-00000", clips)
    dataset.write_part("selections/default", "", verdicts)
    dataset.write_part("captions/sidecar@1", "part-00000", captions)
    return folder / "dataset"


def write_vae(folder: Path) -> None:
    """A VAE of 7,000 random weights in the layout of Wan 2.1."""
    torch.manual_seed(0)
    save_vae(WanVAE(SMALL_VAE), folder, metadata={"step": "1"})
