"""Keys of `train_dit`."""

from typing import Literal

from pydantic import Field

from wanctl.recipe.section import Count, Steps
from wanctl.recipe.train.section import TrainSection
from wanctl.recipe.train.timesteps import TimestepsSection


class TrainDiTSection(TrainSection):
    """Keys of `wanctl train-dit`."""

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
