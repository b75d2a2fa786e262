"""Keys of `sample` and `parallel`: what is generated, from what, and by how many processes."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from wanctl.recipe.generation.camera import CameraSection
from wanctl.recipe.generation.clips import ClipsSection
from wanctl.recipe.generation.phases import PhaseSection, Strength
from wanctl.recipe.generation.rewrite import RewriteSection
from wanctl.recipe.generation.speech import SpeechSection
from wanctl.recipe.generation.vace import VaceSection
from wanctl.recipe.section import (
    Count,
    FrameCount,
    FrameRate,
    Height,
    Section,
    Source,
    Steps,
    Width,
)

PAIR = 2
MAX_SCALE = 1000
MAX_PROCESSES = 65_536
MIN_SEED, MAX_SEED = -(2**63), 2**64 - 1
"""What torch's generators take."""


class SampleSection(Section):
    """Keys of `wanctl sample`. A null comes from the variant's run defaults."""

    task: str | None = Field(
        default=None, description="a row of TASKS; null: the first task of the variant"
    )
    height: Height | None = Field(
        default=None,
        description="pixels; with an input image and `fit: area` height x width is an area",
    )
    width: Width | None = Field(default=None, description="pixels, see `height`")
    fit: Literal["area", "exact"] = Field(
        default="area",
        description="with an input image: `area` keeps the image's aspect ratio at the area of "
        "height x width, `exact` crops the image to height x width",
    )
    frames: FrameCount | None = Field(default=None, description="4n+1; 1 writes a PNG")
    fps: FrameRate | None = Field(default=None, description="frame rate of the video file")
    steps: Steps | None = Field(default=None, description="solver steps")
    shift: float | None = Field(
        default=None, ge=0.001, description="shift of the noise schedule: larger for larger videos"
    )
    levels: tuple[float, ...] | None = Field(
        default=None,
        description="noise levels in full, from 1 down, without the final 0, as a step-distilled "
        "model is trained for, e.g. [1, 0.9375, 0.8333, 0.625]; they replace `steps` and `shift`; "
        "[]: none, where the model has some",
    )
    guide_scale: float | tuple[float, float] | None = Field(
        default=None,
        description="classifier-free guidance scale; two experts: [low noise, high noise]",
    )
    reference_guide_scale: Annotated[float, Field(ge=0, le=MAX_SCALE)] | None = Field(
        default=None,
        description="task r2v: scale of guidance by the reference images, beside that of the "
        "text; 1: none, which saves a third of the time",
    )
    boundary: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="two experts: noise level from which on the high-noise expert is used",
    )
    guide_until: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the steps with guidance; the others evaluate the prompt alone, which "
        "takes half the time and changes the video",
    )
    phases: tuple[PhaseSection, ...] = Field(
        default=(),
        description="divide the steps, in order: each phase has its own expert, LoRA strengths and "
        "guidance, e.g. the first two without a few-step LoRA, which keeps motion",
    )
    step_cache: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="threshold (0.05 to 0.2): a step reuses the last velocity while the expected "
        "relative change since it was computed is smaller; changes the video; 0: off",
    )
    solver: str | None = Field(default=None, description="a row of SOLVERS")
    negative_prompt: str | None = Field(
        default=None, description="null: the variant's own; '': empty"
    )
    seed: int = Field(
        default=0,
        ge=MIN_SEED,
        le=MAX_SEED,
        description="below 0: a random seed, which is logged; at most 2**64 - 1",
    )
    noise_device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="device that draws the noise; the official code draws on cuda"
    )
    image: Source | None = Field(default=None, description="image file or URL: the first frame")
    last_image: Source | None = Field(default=None, description="image file or URL: the last frame")
    video: Source | None = Field(default=None, description="video file or URL")
    mask: Source | None = Field(
        default=None, description="image or video file: white where the video is generated anew"
    )
    references: tuple[Source, ...] = Field(
        default=(), description="image files of subjects that the video shows"
    )
    known_frames: dict[int, Source] = Field(
        default_factory=dict,
        description="frame number -> image file; -1 is the last frame",
    )
    given_frames: Count | None = Field(
        default=None,
        description="continuation: number of last frames of `video` that become the first frames "
        "of the output; null: 1.5 seconds, at most half of the output",
    )
    face: Source | None = Field(
        default=None,
        description="tasks t2v and t2i with `model.identity`: image of a face, cut out so that it "
        "fills a square, best on white",
    )
    tracks: Source | None = Field(
        default=None,
        description="file of point tracks: `.npz` or `.json` with `tracks` (frames, points, 2), x "
        "and y in pixels of `image`, and `visibility` (frames, points); or `.npy` of tracks alone",
    )
    pose_video: Source | None = Field(
        default=None,
        description="tasks animate and s2v: video of the skeletons of a performer",
    )
    face_video: Source | None = Field(
        default=None, description="task animate: video of crops of the performer's face"
    )
    audio: Source | None = Field(
        default=None,
        description="task s2v: file of what is spoken or sung (wav, mp3, m4a ...), or a video "
        "with that sound, which the output gets",
    )
    driving_prompt: str | None = Field(
        default=None,
        description="task animate2: what the driving video shows; null: the model's own words",
    )
    first_frame_log_scale: float | None = Field(
        default=None,
        ge=-100,
        le=100,
        description="task animate2: bias of the attention to the output's first frame, below 0 "
        "less; null: the model's own",
    )
    sparsity: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="models with sparse attention (FastWan, TurboWan): share of the blocks of keys "
        "that self-attention leaves out; 0: none; null: 0.8 (VSA) or 0.9 (SLA)",
    )
    camera: CameraSection = CameraSection()
    clips: ClipsSection = ClipsSection()
    speech: SpeechSection = SpeechSection()
    vace: VaceSection = VaceSection()
    rewrite: RewriteSection = RewriteSection()
    batch: Count | None = Field(
        default=None,
        description="outputs per forward pass, if they differ in prompt and seed only; null: as "
        "many as save time; 1: every output is bit-equal to a run of its own",
    )
    lora_strengths: tuple[Strength, ...] = Field(
        default=(),
        description="sample every output at each of these factors of the strengths of all LoRAs, "
        "e.g. [0, 0.5, 1, 1.5], and write them side by side as with `grid`; empty: once, as they "
        "are",
    )
    grid: bool = Field(
        default=False, description="also write all outputs of the run side by side, with labels"
    )
    grid_columns: Count | None = Field(
        default=None,
        description="columns of the grid; null: a row per prompt with --repeat, else square",
    )
    preview_decoder: Source | None = Field(
        default=None,
        description="file or folder of a tiny decoder, or its published name (taew2_1, taew2_2): "
        "while steps are computed it writes previews of the predicted video to "
        "NAME.preview.mp4 beside the output, which replaces it; null: none",
    )
    preview_every: Count = Field(default=5, description="steps from one preview to the next")
    save_latents: bool = Field(default=False, description="also write NAME.safetensors")
    crf: int = Field(default=16, ge=0, le=51, description="H.264 quality, lower is better")

    @field_validator("guide_scale", mode="before")
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        each = value if isinstance(value, list | tuple) else [value]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in each)
        pair = len(each) == PAIR or not isinstance(value, list | tuple)
        in_range = numbers and pair and 0 <= min(each) <= max(each) <= MAX_SCALE
        if value is not None and not in_range:
            raise ValueError(
                f"got {value!r}; must be a number from 0 to {MAX_SCALE}, or [low noise, high noise]"
            )
        return tuple(value) if isinstance(value, list) else value


class ParallelSection(Section):
    """How the processes that `torchrun` started divide the work of sampling.

    `auto` chooses sizes whose product is the number of processes, and logs them.
    """

    cfg: Literal["auto", 1, 2, 3] = Field(
        default="auto",
        description="2: the two prompts of guidance run on different processes; 3: so do the "
        "three passes of guidance by references (task r2v); or 1",
    )
    ulysses: Literal["auto"] | Count = Field(
        default="auto",
        description="processes of Ulysses attention (all-to-all); divides the number of heads",
    )
    ring: Literal["auto"] | Count = Field(
        default="auto",
        description="processes of ring attention; any number, sends more data than Ulysses",
    )
    fsdp: Literal["auto"] | bool = Field(
        default="auto",
        description="shard the transformer's weights (FSDP2); auto: if they would take over 60 % "
        "of a GPU's memory",
    )

    @field_validator("cfg", "ulysses", "ring", mode="before")
    @classmethod
    def _auto_or_count(cls, value: Any) -> Any:
        if value != "auto" and (type(value) is not int or not 1 <= value <= MAX_PROCESSES):
            allowed = f"auto, or a number of processes from 1 to {MAX_PROCESSES}"
            raise ValueError(f"got {value!r}; must be {allowed}")
        return value

    @field_validator("fsdp", mode="before")
    @classmethod
    def _auto_or_not(cls, value: Any) -> Any:
        if value not in ("auto", True, False):
            raise ValueError(f"got {value!r}; must be auto, true or false")
        return value
