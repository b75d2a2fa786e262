"""One output to make: its prompt, every setting that decides its content, and its file name."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch

from wanctl.diffusion.phases import Phase, StepRule, step_rules
from wanctl.diffusion.schedules import Schedule, levels_schedule, make_schedule
from wanctl.diffusion.solvers import STOCHASTIC, get_solver
from wanctl.errors import UserError
from wanctl.estimate.flops import FP32_BYTES, UMT5_PARAMETERS, ClipWork, Workload
from wanctl.model.shapes import PixelShape, latent_frames
from wanctl.model.variants import Variant
from wanctl.runtime.placement import Placement
from wanctl.sample.inputs import InputSpec
from wanctl.sample.prompts import slug
from wanctl.tasks.clips.api import ClipTask
from wanctl.tasks.inputs import ClipOptions, Inputs, SpeechOptions
from wanctl.tasks.table import get_task
from wanctl.tasks.vace_options import VaceOptions

KEY_DIGITS = 8
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Fields that came later: they count only where they are set, so that names of older outputs stay.
LATER_SETTINGS = (
    "levels", "phases", "camera_moves", "reference_guide_scale", "clips", "driving_prompt",
    "first_frame_log_scale", "sparsity", "speech",
)  # fmt: skip
# Fields that are no settings: the prompt is hashed on its own, the others follow from the rest or
# decide the prompt alone.
NOT_SETTINGS = ("prompt", "input_spec", "header", "rewrite", "typed_prompt")


@dataclass(frozen=True)
class SampleRequest:
    """One output, with the variant's defaults filled in.

    Names and values of the settings are hashed into the file name and written to its header:
    renaming a field would make every finished output again.

    Attributes:
        prompt: text of what is shown.
        input_spec: names the images and the video that the output is made from.
        header: further header entries: the input files and the recipe.
        task: a row of TASKS.
        frames: 4n+1; 1 writes a PNG.
        height: pixels.
        width: pixels.
        fps: frame rate of the mp4.
        steps: solver steps.
        shift: shift of the noise schedule.
        guide_scale: scale of classifier-free guidance; for two experts (low noise, high noise).
        boundary: share of the noise levels above which the high-noise expert runs; None: one
            transformer.
        solver: a row of SOLVERS.
        negative_prompt: text that guidance leads away from.
        seed: seed of the noise, 0 or more.
        noise_device: device that draws the noise; CPU and CUDA give different numbers.
        crf: H.264 quality.
        fit: `area` takes the aspect ratio from the input image, `exact` crops the image.
        given_frames: frames taken from the input video; None: the task's default.
        inputs: recipe key -> sha256 of the file it names.
        vace: how VACE's source video is prepared; None: unchanged.
        precision: of the transformer, `reference` or `fast`.
        dtype: number format of the transformer's large matrices.
        placement: quantization, attention kernel and streaming, which decide the rounding.
        vae_tile: side of the VAE's tiles in pixels; None: no tiles.
        guide_until: share of the steps that use guidance.
        step_cache: threshold of the step cache; 0: no cache.
        rewrite: language in which the prompt is rewritten, or `auto`; None: it is not.
        typed_prompt: text that `prompt` was rewritten from; None: it is as typed.
        levels: noise levels in full, from 1 down; empty: they follow from `steps` and `shift`.
        phases: parts of the steps that are computed differently; empty: there is one.
        camera_moves: the path of the camera where no file (one of `inputs`) gives it.
        reference_guide_scale: scale of guidance by references; None: there is none.
        clips: how the video is divided into clips; None: it is made at once.
        driving_prompt: describes the driving video; None: there is none.
        first_frame_log_scale: of the attention to the output's first frame; None: it is 0.
        sparsity: share of the blocks of keys that sparse attention leaves out; None: the model's.
        speech: which part of the sound is used, and how the video begins; None: all of it.
    """

    prompt: str
    input_spec: InputSpec
    header: Mapping[str, str]
    task: str
    frames: int
    height: int
    width: int
    fps: float
    steps: int
    shift: float
    guide_scale: float | tuple[float, float]
    boundary: float | None
    solver: str
    negative_prompt: str
    seed: int
    noise_device: str
    crf: int
    fit: str
    given_frames: int | None
    inputs: Mapping[str, str]
    vace: VaceOptions | None
    precision: str
    dtype: str
    placement: Placement
    vae_tile: int | None
    guide_until: float
    step_cache: float
    rewrite: Literal["auto", "en", "zh"] | None = None
    typed_prompt: str | None = None
    levels: tuple[float, ...] = ()
    phases: tuple[Phase, ...] = ()
    camera_moves: tuple[tuple[str, float], ...] = ()
    reference_guide_scale: float | None = None
    clips: ClipOptions | None = None
    driving_prompt: str | None = None
    first_frame_log_scale: float | None = None
    sparsity: float | None = None
    speech: SpeechOptions | None = None

    @property
    def title(self) -> str:
        """The prompt as typed, which names the output to people."""
        return self.typed_prompt or self.prompt

    @property
    def suffix(self) -> str:
        """File type of the output."""
        return ".png" if self.frames == 1 else ".mp4"

    @property
    def size(self) -> PixelShape:
        """Size of the output."""
        return PixelShape(self.frames, self.height, self.width)

    @property
    def schedule(self) -> Schedule:
        """The noise levels.

        Raises:
            UserError: they are not possible; names the key.
        """
        if self.levels:
            return levels_schedule(self.levels)
        return make_schedule(self.solver, self.steps, self.shift)

    @cached_property
    def step_rules(self) -> list[StepRule]:
        """How each step is computed.

        Raises:
            UserError: the schedule or the phases are not possible; names the key.
        """
        return step_rules(
            self.schedule.timesteps,
            self.guide_scale,
            boundary=self.boundary,
            guide_until=self.guide_until,
            phases=self.phases,
            reference_scale=self.reference_guide_scale,
        )

    @property
    def kind(self) -> str:
        """Hash that is equal for requests that differ in prompts and noise alone."""
        return replace(self, prompt="", seed=0, negative_prompt="").key("")

    @property
    def guided(self) -> bool:
        """Whether the negative prompt is used."""
        return any(rule.guided for rule in self.step_rules)

    @property
    def passes(self) -> int:
        """The most evaluations of the transformer in a step."""
        return max(rule.passes for rule in self.step_rules)

    @property
    def more_frames(self) -> int:
        """Latent frames in the transformer's sequence beside those of the output."""
        references = len(self.input_spec.references)
        return get_task(self.task).more_frames(latent_frames(self.frames), references)

    def settings(self) -> dict[str, Any]:
        """Names and plain values of all settings."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: _plain(value)
            for name, value in values.items()
            if name not in NOT_SETTINGS and (name not in LATER_SETTINGS or value not in (None, ()))
        }

    def key(self, weights: str) -> str:
        """Hash of everything the content depends on; equal keys mean equal content.

        Args:
            weights: fingerprint of the weights.
        """
        content = json.dumps([self.settings(), self.prompt, weights], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def file_name(self, weights: str) -> str:
        """`<slug>-s<seed>-<hash>.mp4` or `.png`.

        Args:
            weights: fingerprint of the weights.
        """
        return f"{slug(self.title)}-s{self.seed}-{self.key(weights)[:KEY_DIGITS]}{self.suffix}"


def _plain(value: Any) -> Any:
    """A value as JSON writes it."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def prompts_to_encode(requests: Sequence[SampleRequest]) -> list[str]:
    """Every prompt, negative prompt and driving prompt that is used, each once."""
    negative = [request.negative_prompt for request in requests if request.guided]
    driving = [request.driving_prompt for request in requests if request.driving_prompt is not None]
    return list(dict.fromkeys([*(request.prompt for request in requests), *negative, *driving]))


def check_request(request: SampleRequest, variant: Variant) -> None:
    """Check what the task does not: experts, schedule and the device of the noise.

    Raises:
        UserError: `KEY: message`.
    """
    if variant.experts == 1 and isinstance(request.guide_scale, tuple):
        raise UserError(
            f"guide_scale: got two for {variant.name}, which is one transformer; need a number"
        )
    if variant.experts == 1 and request.boundary is not None:
        raise UserError(f"boundary: {variant.name} is one transformer; take the key out")
    get_solver(request.solver)
    _ = request.step_rules
    if request.step_cache and request.solver in STOCHASTIC:
        raise UserError(
            f"step_cache: got {request.step_cache:g}, and {request.solver} draws noise at every "
            "step, after which no earlier velocity holds; leave it out"
        )
    if request.noise_device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "noise_device: got 'cuda', but this machine has no CUDA device; say "
            "`--set sample.noise_device=cpu` (the same seed gives other noise there)"
        )


def workload_of(request: SampleRequest, variant: Variant, num_outputs: int) -> Workload:
    """Describe outputs of one kind in the terms of `wanctl.estimate`.

    Args:
        request: one of them.
        variant: with the sizes of the model.
        num_outputs: how many there are.
    """
    product_bytes, rules = DTYPE_BYTES[request.dtype], request.step_rules
    clips, task = _clip_work(request), get_task(request.task)
    streams = task.encoded_streams if isinstance(task, ClipTask) else float(bool(request.inputs))
    int8_bytes = 1.0 + FP32_BYTES / variant.dit.dim  # and a scale per output row
    return Workload(
        variant=variant,
        size=request.size,
        steps=request.steps,
        guided=request.guided,
        guided_share=sum(rule.passes for rule in rules) / len(rules) - 1,
        weight_bytes=int8_bytes if request.placement.quantize else product_bytes,
        product_bytes=product_bytes,
        streamed=request.placement.stream_blocks,
        vae_tile=request.vae_tile,
        prompts=num_outputs,
        encodes=streams,
        text_parameters=UMT5_PARAMETERS if variant.text_encoder == "umt5" else 0,
        passes=request.passes,
        more_frames=request.more_frames,
        clips=clips,
    )


def _clip_work(request: SampleRequest) -> ClipWork | None:
    task = get_task(request.task)
    if not isinstance(task, ClipTask) or request.clips is None or request.clips.frames is None:
        return None
    count = len(task.clips(request.size, Inputs(clips=request.clips, speech=request.speech)))
    return ClipWork(count, request.clips.frames, task.sequence_frames(request.clips))
