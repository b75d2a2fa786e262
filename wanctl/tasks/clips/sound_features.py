"""Hidden states of an audio encoder in each frame of a video, by the official rules of S2V.

Shapes: S layers of the audio encoder, E width of a layer, P times, F frames.
"""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

ENCODER_FPS = 50.0  # hidden states per second
FEATURE_FPS = 30.0
# Kernels and strides of the audio encoder's convolutions (wav2vec2).
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


def num_features(samples: int) -> int:
    """Features of a sound of so many samples at 16 kHz."""
    for kernel, stride in CONVOLUTIONS:
        samples = (samples - kernel) // stride + 1
    return features_of_states(samples)


def features_of_states(states: int) -> int:
    """Features of so many hidden states."""
    return max(0, int(states / ENCODER_FPS * FEATURE_FPS))


def official_clips(samples: int, clip_frames: int, fps: float) -> int:
    """Clips that the official code makes of a sound.

    Args:
        samples: of the sound, at 16 kHz.
        clip_frames: new frames of a clip.
        fps: of the video.
    """
    return int(num_features(samples) / (clip_frames * (FEATURE_FPS / fps))) + 1


def resampled(states_SPE: Tensor) -> Tensor:
    """(S, P', E) at FEATURE_FPS of (S, P, E) at ENCODER_FPS, linear between the first and last."""
    size = max(1, features_of_states(states_SPE.shape[1]))
    states_SEP = states_SPE.transpose(1, 2)
    return F.interpolate(states_SEP, size=size, mode="linear", align_corners=True).transpose(1, 2)


def features_at(features_SPE: Tensor, frames: Sequence[int], fps: float) -> Tensor:
    """(S, E, F) features of frames of a video.

    Before the sound begins there is its first feature; after its end there are zeros.

    Args:
        features_SPE: at FEATURE_FPS.
        frames: their numbers, also negative ones.
        fps: of the video.
    """
    times = np.maximum(np.asarray(frames), 0) / fps * FEATURE_FPS
    places = np.round(times).astype(int)  # halves to even, as the official code
    count = features_SPE.shape[1]
    found = features_SPE[:, np.minimum(places, count - 1).tolist()].clone()
    found[:, (places >= count).tolist()] = 0
    return found.transpose(1, 2)
