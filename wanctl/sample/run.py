"""`wanctl sample`: prompts to files.

Every output carries what it was made with and is named by a hash of it, so a command that was
stopped, or whose file of prompts grew, makes only what is missing.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch

from wanctl.atomic import write_error
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.resolve import ResolvedWeights, WeightsResolver
from wanctl.device import pick_dtype
from wanctl.diffusion.schedules import make_schedule
from wanctl.distributed.context import DistributedContext, distributed_context
from wanctl.distributed.layout import ParallelOptions
from wanctl.errors import ProblemsError, UserError
from wanctl.estimate.report import show_plan
from wanctl.log import log
from wanctl.model.variants import Variant, get_variant, task_problem
from wanctl.recipe.load import LoadedRecipe
from wanctl.runtime.placement import Placement
from wanctl.sample.inputs import InputCache, InputFiles
from wanctl.sample.job import SampleJob, write_latents
from wanctl.sample.overview import grid_of
from wanctl.sample.params import SamplingParams
from wanctl.sample.pipeline import SamplingPipeline
from wanctl.sample.prompts import PromptError, PromptLine, read_prompts, recipe_for_line
from wanctl.tasks.inputs import Inputs, RequestedSize
from wanctl.tasks.table import get_task

T = TypeVar("T")

MAX_RANDOM_SEED = 2**31


@dataclass(frozen=True)
class SampleRequest:
    """One output, and all that decides what it is.

    Attributes:
        prompt: what it shows.
        loaded: the recipe as it is for this line.
        settings: how it is made.
        files: what is said of its inputs in its header.
    """

    prompt: str
    loaded: LoadedRecipe
    params: SamplingParams
    files: Mapping[str, str]


def sample(
    loaded: LoadedRecipe, prompt: str, out: Path, repeat: int = 1, *, plan_only: bool = False
) -> list[Path]:
    """Make a video, or a picture where `sample.frames` is 1, of every prompt.

    All prompts of a file share the seed, so that an output does not depend on its neighbours.

    Args:
        loaded: the recipe.
        prompt: text, or the path of a file of prompts.
        out: the run folder; files go to `out/samples`.
        repeat: how many seeds each is made with, from its own on.
        plan_only: print what it would take and make nothing.

    Returns:
        The files of all prompts in order, made now or earlier, and the grid of them if one is
        wanted; of several processes, the first one's list holds them.

    Raises:
        UserError: a bad prompt, size, name or device, or weights that are nowhere.
    """
    with distributed_context(loaded.recipe.device) as distributed:
        return _sample(loaded, prompt, out, distributed, repeat, plan_only=plan_only)


def _sample(
    loaded: LoadedRecipe,
    prompt: str,
    out: Path,
    distributed: DistributedContext,
    repeat: int,
    *,
    plan_only: bool,
) -> list[Path]:
    lines = read_prompts(prompt)
    if repeat < 1:
        raise UserError(f"--repeat: got {repeat}; must be 1 or more")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; outputs need a folder, name another with --out")
    recipe = loaded.recipe
    variant = get_variant(recipe.model.variant)
    dtype = pick_dtype(recipe.model.dtype, distributed.device)
    input_cache = InputCache(recipe.curate.decode)
    requests = distributed.broadcast_from_main(
        lambda: _requests(loaded, lines, variant, dtype, input_cache, repeat)
    )
    requests[0].params.placement.check(distributed.device, dtype)
    if plan_only:
        _show_plans(requests, variant, distributed.device, out)
        return []
    search = WeightsResolver(
        out=out,
        weights=recipe.model.weights,
        low_weights=recipe.model.low_weights,
        vae_weights=recipe.model.vae_weights,
        text_weights=recipe.model.text_weights,
        image_weights=recipe.model.image_weights,
        variant=variant,
        loras=tuple(
            Lora(Path(each.path), each.strength, each.expert) for each in recipe.model.loras
        ),
    )
    weights = distributed.broadcast_from_main(search.resolve)
    folder = _samples_folder(out)
    jobs = [_job(request, folder, weights, variant, input_cache) for request in requests]
    jobs = list({job.path: job for job in jobs}.values())
    latents = recipe.sample.save_latents
    left = distributed.broadcast_from_main(
        lambda: [i for i, job in enumerate(jobs) if not _is_done(job, latents)]
    )
    if left:
        _make([jobs[i] for i in left], loaded, weights, variant, dtype, distributed)
    if not distributed.is_main_process:
        return []
    made = [job.path for job in jobs]
    return (
        [*made, grid_of(jobs, recipe.sample.grid_columns, repeat)] if recipe.sample.grid else made
    )


def _requests(
    loaded: LoadedRecipe,
    lines: Sequence[PromptLine],
    variant: Variant,
    dtype: torch.dtype,
    input_cache: InputCache,
    repeat: int,
) -> list[SampleRequest]:
    """What every line asks for, checked before any work.

    Raises:
        PromptError: with the mistakes of all lines, one per line.
    """
    random_seed = secrets.randbelow(MAX_RANDOM_SEED)
    requests: list[SampleRequest] = []
    problems: list[str] = []
    for line in lines:
        own = loaded
        try:
            own = recipe_for_line(loaded, line)
            files = _input_files(own, variant, input_cache)
            params = _sampling_params(own, variant, dtype, files, random_seed)
        except ProblemsError as error:
            problems += str(own.locate(error)).splitlines()
            continue
        except PromptError as error:
            problems += str(error).splitlines()
            continue
        about = files.metadata()
        for number in range(repeat):
            again = replace(params, seed=params.seed + number)
            requests.append(SampleRequest(line.prompt, own, again, about))
    if problems:
        raise PromptError("\n".join(dict.fromkeys(problems)))
    seeds = dict.fromkeys(request.params.seed for request in requests)
    if repeat > 1 or random_seed in seeds:
        log.info("seeds %s" if len(seeds) > 1 else "seed %s", ", ".join(map(str, seeds)))
    return requests


def _show_plans(
    requests: Sequence[SampleRequest], variant: Variant, device: torch.device, out: Path
) -> None:
    """Print what each kind of output takes."""
    kinds = Counter(request.params.kind for request in requests)
    for kind, params in {request.params.kind: request.params for request in requests}.items():
        show_plan(params, variant, kinds[kind], device, out)


def _job(
    request: SampleRequest,
    folder: Path,
    weights: ResolvedWeights,
    variant: Variant,
    input_cache: InputCache,
) -> SampleJob:
    section = request.loaded.recipe.sample
    metadata = {
        "software": f"wanctl {version('wanctl')}",
        **request.params.metadata(),
        **weights.metadata(),
        **request.files,
        "recipe": request.loaded.dump(),
    }
    name = request.params.file_name(request.prompt, weights.fingerprint)
    fps = _or(section.fps, variant.defaults.fps)

    def read() -> Inputs:
        return input_cache.read(section, fps).inputs

    return SampleJob(request.prompt, request.params, read, folder / name, metadata)


def _make(
    jobs: Sequence[SampleJob],
    loaded: LoadedRecipe,
    weights: ResolvedWeights,
    variant: Variant,
    dtype: torch.dtype,
    distributed: DistributedContext,
) -> None:
    """Make outputs and write each as soon as it is there."""
    recipe = loaded.recipe
    parallel = ParallelOptions(**recipe.parallel.model_dump())
    try:
        pipeline = SamplingPipeline(
            jobs, weights, variant, dtype, distributed, parallel, recipe.sample.batch
        )
    except ProblemsError as error:
        raise loaded.locate(error) from None
    for job, latents in pipeline.latents():
        if recipe.sample.save_latents and distributed.is_main_process:
            write_latents(job, latents)
        pipeline.write(job, latents)
        if len(jobs) > 1:
            log.info("%s", job.path)


def _input_files(loaded: LoadedRecipe, variant: Variant, input_cache: InputCache) -> InputFiles:
    """Pictures and footage that the recipe names.

    Raises:
        ProblemsError: one cannot be read.
    """
    section = loaded.recipe.sample
    fps = _or(section.fps, variant.defaults.fps)
    with _in_section("sample"):
        return input_cache.read(section, fps)


def _sampling_params(
    loaded: LoadedRecipe,
    variant: Variant,
    dtype: torch.dtype,
    files: InputFiles,
    random_seed: int,
) -> SamplingParams:
    """The recipe's `sample` section with the variant's defaults filled in, checked.

    `random_seed` is the seed where the recipe wants a random one.

    Raises:
        ProblemsError: a name, a size or a device is not possible.
    """
    section, model, defaults = loaded.recipe.sample, loaded.recipe.model, variant.defaults
    requested = RequestedSize(
        section.frames, section.height, section.width, exact=section.fit == "exact"
    )
    with _in_section("sample"):
        name = section.task or variant.tasks[0]
        if problem := task_problem(variant, name):
            raise UserError(f"task: {problem}")
        task = get_task(name)
        size = task.size(files.inputs, requested, defaults, variant.vae)
    area = _or(section.height, defaults.height) * _or(section.width, defaults.width)
    params = SamplingParams(
        task=task.name,
        frames=size.frames,
        height=size.height,
        width=size.width,
        fps=_or(section.fps, defaults.fps),
        steps=_or(section.steps, defaults.steps),
        shift=_or(section.shift, defaults.shift_at(area)),
        guide_scale=_or(section.guide_scale, defaults.guide_scale),
        boundary=_or(section.boundary, defaults.boundary),
        solver=_or(section.solver, defaults.solver),
        negative_prompt=_or(section.negative_prompt, defaults.negative_prompt),
        seed=section.seed if section.seed >= 0 else random_seed,
        noise_device=section.noise_device,
        crf=section.crf,
        fit=section.fit,
        given_frames=section.given_frames,
        inputs=files.hashes,
        vace=files.inputs.vace,
        precision=model.precision,
        dtype=str(dtype).removeprefix("torch."),
        placement=Placement(model.attention, model.quantize, model.compile, model.stream_blocks),
        vae_tile=model.vae_tile,
        guide_until=section.guide_until,
        step_cache=section.step_cache,
    )
    with _in_section("sample"):
        task.latent_shape(variant.vae, *size, files.inputs)
        _check_experts(params, variant)
        make_schedule(params.solver, params.steps, params.shift)
        if params.noise_device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "noise_device: got 'cuda', but this machine has no CUDA device; say "
                "`--set sample.noise_device=cpu` (the same seed gives other noise there)"
            )
    return params


def _check_experts(params: SamplingParams, variant: Variant) -> None:
    """What is said of two experts of a model that has one.

    Raises:
        UserError: `KEY: message`.
    """
    if variant.experts == 2:
        return
    if isinstance(params.guide_scale, tuple):
        raise UserError(
            f"guide_scale: got two for {variant.name}, which is one transformer; need a number"
        )
    if params.boundary is not None:
        raise UserError(f"boundary: {variant.name} is one transformer; take the key out")


@contextmanager
def _in_section(section: str) -> Iterator[None]:
    """Turn `KEY: message` of a check below into a problem of the recipe's `section.KEY`."""
    try:
        yield
    except UserError as error:
        key, _, message = str(error).partition(": ")
        raise ProblemsError([(f"{section}.{key}", message)]) from None


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _samples_folder(out: Path) -> Path:
    """`out/samples`, made now so that a path that cannot be written fails before the work."""
    folder = out / "samples"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    return folder


def _is_done(job: SampleJob, latents: bool) -> bool:
    """Whether an earlier run made this very output; files are written whole or not at all."""
    done = job.path.is_file() and (not latents or job.latents_path.is_file())
    if done:
        log.info("%s is there already", job.path)
    return done
