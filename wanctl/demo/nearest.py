"""The training window that each sample is closest to, and how close it is.

Of every clip the window with the least squared error counts, over all starts; among the clips the
one with the least ST-LPIPS. So both figures belong to one window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from wanctl.data.captions import read_captions
from wanctl.data.clips import read_video
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.log import progress
from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.train.inputs.windows import to_video
from wanctl.video.probe import read_metadata

WHITE = 255.0
LEAST_ERROR = 1e-2  # squared grey levels; bounds the PSNR of equal videos to 68 dB


@dataclass(frozen=True)
class TrainingClip:
    """One clip as training reads it: (T, H, W, 3) uint8, and all its captions."""

    id: str
    captions: tuple[str, ...]
    frames: np.ndarray


@dataclass(frozen=True)
class Nearest:
    """A training window beside a sample.

    Attributes:
        clip: where it lies.
        start: its first frame in the clip.
        psnr_db: of the sample against the window.
        st_lpips: mean over frames.
        motion: mean absolute difference of neighbouring frames, the sample's over the window's.
    """

    clip: TrainingClip
    start: int
    psnr_db: float
    st_lpips: float
    motion: float


@dataclass(frozen=True)
class Match:
    """One sample and the training windows closest to it.

    Attributes:
        name: of the footage that the prompt describes.
        prompt: a caption that was trained on.
        file: the sample.
        frames: (T, H, W, 3) uint8.
        own: the closest window with this caption.
        by_caption: first caption of a clip -> its closest window, for every clip of training.
    """

    name: str
    prompt: str
    file: Path
    frames: np.ndarray
    own: Nearest
    by_caption: Mapping[str, Nearest]

    @property
    def window(self) -> np.ndarray:
        """Frames of the closest window with the prompt as its caption."""
        return self.own.clip.frames[self.own.start : self.own.start + len(self.frames)]

    @property
    def nearest_caption(self) -> str:
        """The caption of the window with the least ST-LPIPS of all."""
        return min(self.by_caption, key=lambda caption: self.by_caption[caption].st_lpips)

    @property
    def is_nearest_to_own(self) -> bool:
        """Whether no window of another caption is closer than those of the prompt."""
        return self.own.st_lpips <= self.by_caption[self.nearest_caption].st_lpips


def compare(out: Path, prompts: Mapping[str, str]) -> list[Match]:
    """Find the closest training windows of the newest sample of each prompt.

    Args:
        out: the run folder, with `dataset` and `samples`.
        prompts: name -> prompt, as captioned and as sampled.

    Raises:
        UserError: no training clip has a prompt as its caption, or no sample was made from it.
    """
    samples = _samples(out / "samples", prompts)
    clips = _training_clips(out / "dataset", prompts)
    metric = PerceptualDistance()
    matches = []
    with progress(len(prompts) * len(clips), "compare") as bar:
        for name, (file, frames) in samples.items():
            found = []
            for clip in clips:
                if len(clip.frames) >= len(frames):
                    found.append(nearest_window(metric, frames, clip))
                bar.advance()
            matches.append(_match(name, prompts[name], file, frames, found))
    return matches


def nearest_window(metric: PerceptualDistance, sample: np.ndarray, clip: TrainingClip) -> Nearest:
    """The window of a clip with the least squared error, over every start.

    Args:
        metric: ST-LPIPS.
        sample: (T, H, W, 3) uint8.
        clip: at least as long as the sample, of the same frame size.
    """
    length = len(sample)
    windows = sliding_window_view(clip.frames, length, axis=0)  # (starts, H, W, 3, T)
    wanted = np.moveaxis(sample, 0, -1).astype(np.float32)
    errors = [float(np.square(window - wanted).mean()) for window in windows]
    start = int(np.argmin(errors))
    window = clip.frames[start : start + length]
    with torch.inference_mode():
        pair = [to_video(torch.from_numpy(frames)).movedim(0, 1) for frames in (sample, window)]
        distance = float(metric(*pair).mean())
    psnr = float(10 * np.log10(WHITE**2 / max(errors[start], LEAST_ERROR)))
    return Nearest(clip, start, psnr, distance, motion(sample) / max(motion(window), 1e-6))


def motion(video: np.ndarray) -> float:
    """Mean absolute difference of neighbouring frames in grey levels; (T, H, W, 3) uint8."""
    return float(np.abs(np.diff(video.astype(np.float32), axis=0)).mean())


def _match(
    name: str, prompt: str, file: Path, frames: np.ndarray, found: Sequence[Nearest]
) -> Match:
    own = [each for each in found if prompt in each.clip.captions]
    by_caption: dict[str, Nearest] = {}
    for each in found:
        caption = prompt if each in own else each.clip.captions[0]
        if caption not in by_caption or each.st_lpips < by_caption[caption].st_lpips:
            by_caption[caption] = each
    return Match(name, prompt, file, frames, by_caption[prompt], by_caption)


def _training_clips(folder: Path, prompts: Mapping[str, str]) -> list[TrainingClip]:
    captions = read_captions(DatasetDir.open(folder), ())
    clips = [
        TrainingClip(path.stem, tuple(each.text for each in captions[path.stem]), read_video(path))
        for path in sorted(folder.glob("training/*/*.mp4"))
        if path.stem in captions
    ]
    known = {caption for clip in clips for caption in clip.captions}
    if missing := [name for name, prompt in prompts.items() if prompt not in known]:
        raise UserError(
            f"{folder}/training: no clip of {', '.join(missing)} has the caption that is sampled; "
            f"remove {folder.parent} and run `make demo` again"
        )
    return clips


def _samples(folder: Path, prompts: Mapping[str, str]) -> dict[str, tuple[Path, np.ndarray]]:
    """The newest sample of each prompt."""
    by_prompt = {}
    for path in sorted(folder.glob("*.mp4"), key=lambda path: path.stat().st_mtime):
        by_prompt[read_metadata(path).get("prompt")] = path
    if missing := [name for name, prompt in prompts.items() if prompt not in by_prompt]:
        raise UserError(f"{folder}: no sample of the prompt for {', '.join(missing)}")
    return {
        name: (by_prompt[prompt], read_video(by_prompt[prompt])) for name, prompt in prompts.items()
    }
