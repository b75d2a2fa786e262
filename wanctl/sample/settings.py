"""One request from the recipe's `sample` section and the defaults of the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from wanctl.camera.moves import Move
from wanctl.camera.options import CameraOptions
from wanctl.diffusion.phases import Phase
from wanctl.errors import ProblemsError, UserError
from wanctl.model.variant_table import task_problem
from wanctl.model.variants import RunDefaults, Variant
from wanctl.recipe.generation.camera import CameraSection
from wanctl.recipe.generation.clips import ClipsSection
from wanctl.recipe.generation.speech import SpeechSection
from wanctl.recipe.generation.vace import VaceSection
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import SampleSection
from wanctl.runtime.placement import Placement
from wanctl.sample.inputs import InputCache, InputSpec
from wanctl.sample.request import SampleRequest, check_request
from wanctl.tasks.api import Task
from wanctl.tasks.clips.api import ClipTask
from wanctl.tasks.inputs import ClipOptions, RequestedSize, SpeechOptions
from wanctl.tasks.table import get_task
from wanctl.tasks.vace_options import Track, VaceOptions

T = TypeVar("T")


def build_request(
    loaded: LoadedRecipe,
    prompt: str,
    *,
    variant: Variant,
    dtype: torch.dtype,
    cache: InputCache,
    seed: int,
) -> SampleRequest:
    """The recipe's `sample` section with the variant's defaults filled in, checked.

    Args:
        loaded: the recipe of this prompt.
        prompt: the text.
        variant: the model.
        dtype: of the transformer's large matrices.
        cache: reads input files.
        seed: used where the recipe asks for a random one.

    Raises:
        ProblemsError: a name, a file, a size or a device is not possible.
    """
    section, model, defaults = loaded.recipe.sample, loaded.recipe.model, variant.defaults
    _check_face(section.face, model.identity or model.low_identity)
    spec = input_spec(section, _or(section.fps, defaults.fps))
    requested = RequestedSize(section.frames, section.height, section.width, exact=spec.exact)
    with in_section("sample"):
        files = cache.read(spec)
        name = section.task or variant.tasks[0]
        if problem := task_problem(variant, name):
            raise UserError(f"task: {problem}")
        task = get_task(name)
        size = task.size(files.inputs, requested, defaults, variant.vae)
        clips = task.clip_options(files.inputs) if isinstance(task, ClipTask) else None
        driving_prompt, first_frame_log_scale = _driving(section, variant)
    area = _or(section.height, defaults.height) * _or(section.width, defaults.width)
    levels = _levels(section, defaults)
    request = SampleRequest(
        prompt=prompt,
        input_spec=spec,
        header={**files.metadata(), "recipe": loaded.dump()},
        task=task.name,
        frames=size.frames,
        height=size.height,
        width=size.width,
        fps=spec.fps,
        steps=len(levels) or _or(section.steps, defaults.steps),
        shift=_or(section.shift, defaults.shift_at(area)),
        guide_scale=_or(section.guide_scale, defaults.guide_scale),
        boundary=_or(section.boundary, defaults.boundary),
        solver=_or(section.solver, defaults.solver),
        negative_prompt=_or(section.negative_prompt, defaults.negative_prompt),
        seed=section.seed if section.seed >= 0 else seed,
        noise_device=section.noise_device,
        crf=section.crf,
        fit=section.fit,
        given_frames=section.given_frames,
        inputs=files.hashes,
        vace=spec.vace,
        precision=model.precision,
        dtype=str(dtype).removeprefix("torch."),
        placement=Placement(model.attention, model.quantize, model.compile, model.stream_blocks),
        vae_tile=model.vae_tile,
        guide_until=section.guide_until,
        step_cache=section.step_cache,
        rewrite=section.rewrite.language if section.rewrite.enabled else None,
        levels=levels,
        phases=tuple(Phase(**dict(phase)) for phase in section.phases),
        camera_moves=_camera_moves(spec),
        reference_guide_scale=_reference_scale(section, defaults, task),
        clips=clips,
        driving_prompt=driving_prompt,
        first_frame_log_scale=first_frame_log_scale,
        sparsity=section.sparsity,
        speech=spec.speech,
    )
    with in_section("sample"):
        task.latent_shape(variant.vae, *size, files.inputs)
        check_request(request, variant)
    return request


def _driving(section: SampleSection, variant: Variant) -> tuple[str | None, float | None]:
    """What a driving video shows, and the bias of the output's first frame.

    Raises:
        UserError: the model reads no driving video, and one of both is set.
    """
    for key in ("driving_prompt", "first_frame_log_scale"):
        if getattr(section, key) is not None and not variant.dit.driven:
            raise UserError(f"{key}: {variant.name} reads no driving video; leave it out")
    if not variant.dit.driven:
        return None, None
    defaults = variant.defaults
    prompt = _or(section.driving_prompt, defaults.driving_prompt)
    return prompt, _or(section.first_frame_log_scale, defaults.first_frame_log_scale) or None


def _levels(section: SampleSection, defaults: RunDefaults) -> tuple[float, ...]:
    """Levels in full: the recipe's, or the model's where the recipe asks for no other schedule."""
    if section.levels is not None:
        return section.levels
    return defaults.levels if section.steps is None and section.shift is None else ()


def _check_face(face: str | None, identity: str | None) -> None:
    """Check that a face and the weights for it come together.

    Raises:
        ProblemsError: one of them is missing.
    """
    if face and not identity:
        message = "needs the weights of Stand-In; say `--set model.identity=FILE`"
        raise ProblemsError([("sample.face", message)])
    if identity and not face:
        message = "model.identity is for a face; say `--set sample.face=FILE`"
        raise ProblemsError([("sample.face", message)])


def _reference_scale(section: SampleSection, defaults: RunDefaults, task: Task) -> float | None:
    """The scale of guidance by references; None where the task has none.

    Raises:
        ProblemsError: the recipe sets one for such a task.
    """
    if task.guides_by_references:
        return _or(section.reference_guide_scale, defaults.reference_guide_scale)
    if section.reference_guide_scale is not None:
        message = f"task {task.name} has no guidance by references; leave it out"
        raise ProblemsError([("sample.reference_guide_scale", message)])
    return None


def input_spec(section: SampleSection, fps: float) -> InputSpec:
    """The files that the recipe names, and how they are used; `fps` is the output's."""
    return InputSpec(
        image=section.image,
        last_image=section.last_image,
        video=section.video,
        mask=section.mask,
        references=section.references,
        known_frames=section.known_frames,
        given_frames=section.given_frames,
        vace=_vace_options(section.vace),
        fps=fps,
        exact=section.fit == "exact",
        camera=_camera_options(section.camera),
        tracks=section.tracks,
        clips=_clip_options(section.clips),
        face=section.face,
        pose_video=section.pose_video,
        face_video=section.face_video,
        audio=section.audio,
        speech=_speech_options(section.speech),
    )


def _clip_options(section: ClipsSection) -> ClipOptions | None:
    """How a long video is divided; None where the recipe says nothing of it."""
    return None if section == ClipsSection() else ClipOptions(**dict(section))


def _speech_options(section: SpeechSection) -> SpeechOptions | None:
    """The part of the sound and the start; None where the recipe says nothing of them."""
    return None if section == SpeechSection() else SpeechOptions(**dict(section))


def _camera_options(section: CameraSection) -> CameraOptions | None:
    """The path of the camera; None where the recipe names none."""
    if section == CameraSection():
        return None
    moves = tuple(Move(each.move, each.speed) for each in section.moves)
    return CameraOptions(section.path, moves)


def _camera_moves(spec: InputSpec) -> tuple[tuple[str, float], ...]:
    return tuple((each.name, each.speed) for each in spec.camera.moves) if spec.camera else ()


def _vace_options(section: VaceSection) -> VaceOptions | None:
    """Options of VACE's source video; None where the recipe changes none."""
    if section == VaceSection():
        return None
    tracks = tuple(Track(track.boxes, track.colour) for track in section.layout)
    options = {key: value for key, value in section if key != "layout"}
    return VaceOptions(layout=tracks, **options)


@contextmanager
def in_section(section: str) -> Iterator[None]:
    """Turn `KEY: message` of a check below into a problem of the recipe's `section.KEY`."""
    try:
        yield
    except UserError as error:
        key, _, message = str(error).partition(": ")
        raise ProblemsError([(f"{section}.{key}", message)]) from None


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
