"""Known frames: which frames of a source video, and their latents in place of noise.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, H/W pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape, floor_frames, latent_frames
from wanctl.tasks.footage import SLACK_S, frames_held
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.pixels import to_float

# What continuation was trained on (Wan report 5.1: the first 1.5 s of 5 s).
DEFAULT_S = 1.5


def last_frames(inputs: Inputs, frames: int) -> list[int]:
    """Indices of the video's last frames at the output's frame rate.

    Args:
        inputs: with a video.
        frames: of the output.

    Raises:
        UserError: `KEY: message`; too many, or the footage is too short.
    """
    assert inputs.video is not None
    count = inputs.given_frames
    if count is None:
        count = floor_frames(min(round(DEFAULT_S * inputs.fps) + 1, frames // 2))
    if not 1 <= count < frames:
        raise UserError(
            f"given_frames: got {count}; must be 1 to {frames - 1}: the video has {frames} frames"
        )
    starts, ends = inputs.video.starts_s, inputs.video.ends_s
    # from the last frame backwards
    times = starts[-1] - np.arange(count - 1, -1, -1) / inputs.fps
    if times[0] < starts[0] - SLACK_S:
        held = frames_held(inputs.video, inputs.fps)
        raise UserError(
            f"video: {inputs.video.name}: lasts {ends[-1] - starts[0]:.2f} s; {count} frames at "
            f"{inputs.fps:g} fps are longer; say `--set sample.given_frames={floor_frames(held)}`"
        )
    return np.maximum(np.searchsorted(starts, times + SLACK_S, side="right") - 1, 0).tolist()


def place_frames(inputs: Inputs, picked: Sequence[int]) -> Iterator[Tensor]:
    """Frames of the video as (3, H, W) fp32 in [-1, 1]."""
    assert inputs.video is not None
    for index in picked:
        yield to_float(inputs.video.pictures[index])


def known_latents(context: Tensor, latents: Tensor, size: PixelShape) -> Conditions:
    """Conditions whose first latent frames are known.

    Args:
        context: (B, S, E) embeddings.
        latents: (C, t, Y, X) normalised.
        size: of the video.
    """
    frames = latent_frames(size.frames)
    given = latents.shape[1]
    known = latents.new_zeros(len(latents), frames, *latents.shape[2:])
    known[:, :given] = latents
    places = torch.arange(frames, device=latents.device) < given
    return Conditions(
        context, known=known.expand(len(context), -1, -1, -1, -1), known_frames=places
    )
