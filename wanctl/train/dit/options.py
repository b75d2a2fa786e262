"""Settings of the transformer's objective."""

from dataclasses import dataclass

from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.inputs.windows import ClipWindow


@dataclass(frozen=True)
class PreviewOptions:
    """Settings of the videos that are sampled while training.

    Attributes:
        prompts: one video each, of each task that serves its length.
        windows: for each prompt the window of footage whose frames a task is given.
        negative_prompt: of classifier-free guidance.
        latent_shape: (C, T, Y, X) of one preview.
        steps: solver steps.
        shift: of the sampling schedule.
        guide_scale: of classifier-free guidance; one number, or those of two experts (low noise,
            high noise).
        solver: a row of SOLVERS.
        fps: frame rate of the mp4 files.
    """

    prompts: tuple[str, ...]
    windows: tuple[ClipWindow, ...]
    negative_prompt: str
    latent_shape: tuple[int, int, int, int]
    steps: int
    shift: float
    guide_scale: float | tuple[float, float]
    solver: str
    fps: float


@dataclass(frozen=True)
class DiTOptions:
    """Settings of the objective.

    Attributes:
        noise: distribution of noise levels, weight of each in the loss.
        text_dropout: share of captions that is replaced by `dropped_text`.
        dropped_text: the negative prompt, or the empty one.
        known_frames_weight: weight in the loss of known frames that the model reads as channels.
        preview: videos that are sampled while training.
        seed: of the noise in evaluations and previews.
        offload_optimizer: whether the optimizer's state is in host memory between its steps.
    """

    noise: NoiseOptions
    text_dropout: float
    dropped_text: str
    known_frames_weight: float
    preview: PreviewOptions
    seed: int
    offload_optimizer: bool
