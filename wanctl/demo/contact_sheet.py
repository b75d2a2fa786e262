"""The demo's last stage: the training clip closest to each sample, in numbers and as an image."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.table import Table

from wanctl.data.buckets import spread_windows
from wanctl.data.captions import read_captions
from wanctl.data.clips import read_video
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.log import console, progress
from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.train.inputs.windows import to_video
from wanctl.video.probe import read_metadata

# Windows of each training clip that a sample is compared with, and frames of each window.
WINDOWS, FRAMES = 4, 5
TILE_WIDTH_PX, GAP_PX, HEADER_PX = 160, 6, 22


@dataclass(frozen=True)
class Nearest:
    """The training clip a sample is closest to, within one prompt.

    Attributes:
        distance: ST-LPIPS, mean over frames of the closest window.
        frames: (T, H, W, 3) uint8 of that window.
    """

    distance: float
    frames: np.ndarray


def compare(out: Path, prompts: Mapping[str, str]) -> int:
    """Print the distances, draw `demo.png`, and count samples nearest to their own prompt's clips.

    Args:
        out: the run folder.
        prompts: name -> prompt, as captioned and as sampled.
    """
    clips = _training_clips(out / "dataset", prompts)
    samples = _samples(out / "samples", prompts)
    metric = PerceptualDistance()
    nearest: dict[str, dict[str, Nearest]] = {}
    with progress(len(prompts) * sum(map(len, clips.values())), "compare") as bar:
        for name in prompts:
            nearest[name] = {}
            for other, videos in clips.items():
                candidates = []
                for video in videos:
                    candidates.append(_nearest_window(metric, samples[name], video))
                    bar.advance()
                nearest[name][other] = min(candidates, key=lambda each: each.distance)
    _print_table(nearest)
    _draw(out / "demo.png", prompts, samples, {name: nearest[name][name] for name in prompts})
    return sum(
        min(row, key=lambda other: row[other].distance) == name for name, row in nearest.items()
    )


def _training_clips(folder: Path, prompts: Mapping[str, str]) -> dict[str, list[np.ndarray]]:
    """The training clips by the name of the prompt that is their caption."""
    names = {prompt: name for name, prompt in prompts.items()}
    clips: dict[str, list[np.ndarray]] = {name: [] for name in prompts}
    captions = read_captions(DatasetDir.open(folder), ())
    for path in sorted(folder.glob("training/*/*.mp4")):
        for caption in captions.get(path.stem, ()):
            if caption.text in names:
                clips[names[caption.text]].append(read_video(path))
    missing = [name for name, videos in clips.items() if not videos]
    if missing:
        raise UserError(
            f"{folder}/training: no clip of {', '.join(missing)}; remove {folder.parent} and run "
            "`make demo` again"
        )
    return clips


def _samples(folder: Path, prompts: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The newest sample of each prompt."""
    by_prompt = {}
    for path in sorted(folder.glob("*.mp4"), key=lambda path: path.stat().st_mtime):
        by_prompt[read_metadata(path).get("prompt")] = path
    return {name: read_video(by_prompt[prompt]) for name, prompt in prompts.items()}


def _nearest_window(metric: PerceptualDistance, sample: np.ndarray, clip: np.ndarray) -> Nearest:
    length = min(len(sample), len(clip))
    take = np.linspace(0, length - 1, FRAMES).round().astype(int)
    sample_frames = to_video(torch.from_numpy(sample[take])).movedim(0, 1)
    best: Nearest | None = None
    for start in spread_windows(len(clip), length, WINDOWS):
        window = clip[start : start + length]
        with torch.inference_mode():
            clip_frames = to_video(torch.from_numpy(window[take])).movedim(0, 1)
            distance = float(metric(sample_frames, clip_frames).mean())
        if best is None or distance < best.distance:
            best = Nearest(distance, window)
    assert best is not None
    return best


def _print_table(nearest: Mapping[str, Mapping[str, Nearest]]) -> None:
    table = Table(title="ST-LPIPS from each sample to the nearest training clip of each prompt")
    table.add_column("sample")
    for name in nearest:
        table.add_column(name, justify="right")
    for name, row in nearest.items():
        lowest = min(each.distance for each in row.values())
        cells = [
            f"[bold green]{each.distance:.3f}[/]"
            if each.distance == lowest
            else f"{each.distance:.3f}"
            for each in row.values()
        ]
        table.add_row(name, *cells)
    console.print(table)
    mean_distance = statistics.mean(row[name].distance for name, row in nearest.items())
    console.print(f"mean distance to clips of the same prompt: {mean_distance:.3f}")


def _draw(
    path: Path,
    prompts: Mapping[str, str],
    samples: Mapping[str, np.ndarray],
    closest: Mapping[str, Nearest],
) -> None:
    """One block per prompt: the sample's frames above those of the closest training clip."""
    blocks = []
    for name, prompt in prompts.items():
        rows = [_strip(samples[name]), _strip(closest[name].frames)]
        title = f"{prompt}   (above: sample, below: closest clip, {closest[name].distance:.3f})"
        blocks += [_title(title, rows[0].shape[1]), *rows]
    sheet = Image.fromarray(np.vstack(blocks))
    sheet.save(path)


def _strip(frames: np.ndarray) -> np.ndarray:
    take = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
    height = round(TILE_WIDTH_PX * frames.shape[1] / frames.shape[2])
    tiles = [
        cv2.resize(frames[i], (TILE_WIDTH_PX, height), interpolation=cv2.INTER_CUBIC) for i in take
    ]
    return np.hstack([np.pad(t, ((0, GAP_PX), (0, GAP_PX), (0, 0))) for t in tiles])


def _title(text: str, width: int) -> np.ndarray:
    band = Image.new("RGB", (width, HEADER_PX))
    ImageDraw.Draw(band).text((4, 5), text, fill="white")
    return np.asarray(band)
