"""Keys of `wanctl sample`: what is made, from what, and how processes divide the work."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from wanctl.recipe.section import FrameCount, Height, Section, Width
from wanctl.recipe.vace import VaceSection

PAIR = 2


class SampleSection(Section):
    """`wanctl sample`. What is null comes from the variant's run defaults."""

    task: str | None = Field(
        default=None, description="a row of TASKS; null: what the variant is for"
    )
    height: Height | None = Field(
        default=None, description="pixels; height x width is an area where a picture gives shape"
    )
    width: Width | None = None
    fit: Literal["area", "exact"] = Field(
        default="area",
        description="videos made from pictures: `area` takes their shape from the picture, `exact` "
        "has them at height x width and cuts the picture",
    )
    frames: FrameCount | None = Field(default=None, description="4n+1; 1 makes a PNG")
    fps: PositiveFloat | None = None
    steps: PositiveInt | None = None
    shift: PositiveFloat | None = None
    guide_scale: float | tuple[float, float] | None = Field(
        default=None,
        description="how far beyond the negative prompt; two experts: [low noise, high noise]",
    )
    boundary: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the noise levels from which on the high-noise expert works",
    )
    guide_until: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the steps that are guided; the others ask for the prompt alone, in "
        "half the time, and change the video",
    )
    step_cache: float = Field(
        default=0.0,
        ge=0,
        description="a step takes over the velocity of the one before while its expected relative "
        "change adds up to less than this (0.05 to 0.2); changes the video; 0: every step asks",
    )
    solver: str | None = Field(default=None, description="a row of SOLVERS")
    negative_prompt: str | None = Field(
        default=None, description="null: the variant's own; '' is really empty"
    )
    seed: int = Field(default=0, description="below 0: a random one, which is printed")
    noise_device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="where noise is drawn; the official code draws on cuda"
    )
    image: str | None = Field(default=None, description="picture file or URL: the first frame")
    last_image: str | None = Field(default=None, description="picture file or URL: the last frame")
    video: str | None = Field(default=None, description="video file or URL")
    mask: str | None = Field(
        default=None, description="picture or video file: white where the video is made anew"
    )
    references: tuple[str, ...] = Field(
        default=(), description="picture files of what is to be seen"
    )
    known_frames: dict[int, str] = Field(
        default_factory=dict,
        description="frame number -> picture file; -1 is the last frame",
    )
    given_frames: PositiveInt | None = Field(
        default=None,
        description="continuation: how many of the video's last frames are the first ones of the "
        "output; null: 1.5 seconds, at most half",
    )
    vace: VaceSection = VaceSection()
    batch: PositiveInt | None = Field(
        default=None,
        description="lines of a file of prompts that are made together where they differ in words "
        "and seed alone; null: as many as pay; 1: each output to the bit as it is alone",
    )
    grid: bool = Field(
        default=False, description="also put all outputs of the run side by side, with labels"
    )
    grid_columns: PositiveInt | None = Field(
        default=None,
        description="tiles in a row; null: a row per prompt with --repeat, else square",
    )
    save_latents: bool = Field(default=False, description="also write NAME.safetensors")
    crf: int = Field(default=16, ge=0, le=51, description="H.264 quality, lower is better")

    @field_validator("guide_scale", mode="before")
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        each = value if isinstance(value, list | tuple) else [value]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in each)
        pair = len(each) == PAIR or not isinstance(value, list | tuple)
        if value is not None and not (numbers and pair and min(each) >= 0):
            raise ValueError(f"got {value!r}; must be a number from 0, or [low noise, high noise]")
        return tuple(value) if isinstance(value, list) else value


class ParallelSection(Section):
    """How the processes that `torchrun` started divide a sample's work between them.

    `auto` fills in what makes the product the number of processes, and the choice is printed.
    """

    cfg: Literal["auto", 1, 2] = Field(
        default="auto", description="2: each prompt of guidance has processes of its own; or 1"
    )
    ulysses: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="processes that exchange tokens for attention heads; divides the heads",
    )
    ring: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="processes that pass keys and values around; any number, more to send",
    )
    fsdp: Literal["auto"] | bool = Field(
        default="auto",
        description="each process keeps a part of the transformer's weights; auto: where they "
        "would fill over 60 % of a GPU",
    )

    @field_validator("cfg", "ulysses", "ring", mode="before")
    @classmethod
    def _auto_or_count(cls, value: Any) -> Any:
        if value != "auto" and (type(value) is not int or value < 1):
            raise ValueError(f"got {value!r}; must be auto, or a number of processes from 1")
        return value

    @field_validator("fsdp", mode="before")
    @classmethod
    def _auto_or_not(cls, value: Any) -> Any:
        if value not in ("auto", True, False):
            raise ValueError(f"got {value!r}; must be auto, true or false")
        return value
