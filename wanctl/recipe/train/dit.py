"""Keys of `train_dit`."""

from typing import Literal

from pydantic import Field, PositiveFloat

from wanctl.recipe.section import Count, Steps
from wanctl.recipe.train.section import TrainSection
from wanctl.recipe.train.tasks import ConditionsSection
from wanctl.recipe.train.timesteps import TimestepsSection


class TrainDiTSection(TrainSection):
    """Keys of `wanctl train-dit`."""

    tasks: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="task -> weight; each micro-batch draws one of those that serve its bucket "
        "(t2i images, all others videos); {}: t2v and t2i, or the variant's first task",
    )
    conditions: ConditionsSection = ConditionsSection()
    timesteps: TimestepsSection = TimestepsSection()
    text_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of captions replaced by the empty prompt"
    )
    windows_per_clip: Count = Field(
        default=4, description="windows per clip, evenly spaced, that are encoded and cached"
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(), description="prompts sampled during training; empty: captions of held-out clips"
    )
    preview_steps: Steps = Field(default=20, description="solver steps of a preview")
    preview_decoder: Literal["vae", "tiny_decoder"] = Field(
        default="vae",
        description="what decodes previews; `tiny_decoder`, that of OUT/tiny_decoder, is several "
        "times as fast and softer",
    )
