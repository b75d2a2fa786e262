"""Keys of `sample.speech`: the part of a sound that a person speaks or sings (task s2v)."""

from pydantic import Field

from wanctl.recipe.section import Section

LONGEST_S = 86_400


class SpeechSection(Section):
    """Which part of `sample.audio` is used, and how the video begins."""

    start_s: float = Field(
        default=0.0, ge=0, le=LONGEST_S, description="seconds of the sound that are left out"
    )
    duration_s: float | None = Field(
        default=None,
        ge=0.01,
        le=LONGEST_S,
        description="seconds of the sound that are used at most; null: to its end",
    )
    image_first: bool = Field(
        default=False,
        description="the video begins with the picture itself; else with one like it",
    )
