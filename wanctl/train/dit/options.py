"""Settings of the transformer's objective."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseLaw:
    """Distribution of noise levels; the fields are those of `train_dit.timesteps`."""

    law: str
    mean: float
    std: float
    shift: float


@dataclass(frozen=True)
class PreviewOptions:
    """Settings of the videos that are sampled while training.

    Attributes:
        prompts: one video each.
        negative_prompt: of classifier-free guidance.
        latent_shape: (C, T, Y, X) of one preview.
        steps: solver steps.
        shift: of the sampling schedule.
        guide_scale: of classifier-free guidance.
        solver: a row of SOLVERS.
        fps: frame rate of the mp4 files.
    """

    prompts: tuple[str, ...]
    negative_prompt: str
    latent_shape: tuple[int, int, int, int]
    steps: int
    shift: float
    guide_scale: float
    solver: str
    fps: float


@dataclass(frozen=True)
class DiTOptions:
    """Settings of the objective.

    Attributes:
        noise: distribution of noise levels.
        text_dropout: share of captions that is replaced by the empty prompt.
        preview: videos that are sampled while training.
        seed: of the noise in evaluations and previews.
    """

    noise: NoiseLaw
    text_dropout: float
    preview: PreviewOptions
    seed: int
