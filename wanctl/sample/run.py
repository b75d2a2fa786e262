"""`wanctl sample`: prompts to files.

Every output carries what it was made with and is named by a hash of it, so a command that was
stopped, or whose file of prompts grew, makes only what is missing.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch

from wanctl.data.atomic import write_error
from wanctl.device import pick_dtype
from wanctl.diffusion.schedules import make_schedule
from wanctl.errors import ProblemsError, UserError
from wanctl.log import log
from wanctl.model.variants import Variant, get_variant, task_problem
from wanctl.parallel.layout import Asked as AskedLayout
from wanctl.parallel.team import Team, join
from wanctl.recipe.load import LoadedRecipe
from wanctl.sample.inputs import InputFiles, read_inputs
from wanctl.sample.maker import Job, Maker, write_latents
from wanctl.sample.prompts import read_prompts
from wanctl.sample.settings import Settings
from wanctl.sample.weights import WeightsSearch
from wanctl.tasks.inputs import Asked
from wanctl.tasks.table import get_task

T = TypeVar("T")

MAX_RANDOM_SEED = 2**31


def sample(loaded: LoadedRecipe, prompt: str, out: Path) -> list[Path]:
    """Make a video, or a picture where `sample.frames` is 1, of every prompt.

    All prompts of a file share the seed, so that an output does not depend on its neighbours.

    Args:
        loaded: the recipe.
        prompt: text, or the path of a `.txt` file with one prompt per line.
        out: the run folder; files go to `out/samples`.

    Returns:
        The files of all prompts in order, made now or earlier; of several processes, the first
        one's list holds them.

    Raises:
        UserError: a bad prompt, size, name or device, or weights that are nowhere.
    """
    with join(loaded.recipe.device) as team:
        return _sample(loaded, prompt, out, team)


def _sample(loaded: LoadedRecipe, prompt: str, out: Path, team: Team) -> list[Path]:
    prompts = read_prompts(prompt)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; outputs need a folder, name another with --out")
    recipe = loaded.recipe
    variant = get_variant(recipe.model.variant)
    dtype = pick_dtype(recipe.model.dtype, team.device)
    try:
        files = _input_files(loaded, variant)
        settings = team.share(lambda: _settings(loaded, variant, dtype, files))
    except ProblemsError as error:
        raise loaded.locate(error) from None
    search = WeightsSearch(
        out=out,
        weights=recipe.model.weights,
        vae_weights=recipe.model.vae_weights,
        text_weights=recipe.model.text_weights,
        image_weights=recipe.model.image_weights,
        variant=variant,
    )
    weights = team.share(search.find)
    folder = _samples_folder(out)

    metadata = {
        "software": f"wanctl {version('wanctl')}",
        **settings.metadata(),
        **weights.metadata(),
        **files.metadata(),
        "recipe": loaded.dump(),
    }
    jobs = [
        Job(each, folder / settings.file_name(each, weights.fingerprint), metadata)
        for each in prompts
    ]
    todo = team.share(
        lambda: [job for job in jobs if not _is_done(job, latents=recipe.sample.save_latents)]
    )
    if todo:
        parallel = AskedLayout(**recipe.parallel.model_dump())
        try:
            maker = Maker(settings, weights, variant, files.inputs, dtype, team, parallel)
        except ProblemsError as error:
            raise loaded.locate(error) from None
        for job, latents in maker.latents(todo):
            if recipe.sample.save_latents and team.first:
                write_latents(job, latents)
            maker.write(job, latents)
            if len(todo) > 1:
                log.info("%s", job.path)
    return [job.path for job in jobs] if team.first else []


def _input_files(loaded: LoadedRecipe, variant: Variant) -> InputFiles:
    """Pictures and footage that the recipe names.

    Raises:
        ProblemsError: one cannot be read.
    """
    section = loaded.recipe.sample
    fps = _or(section.fps, variant.defaults.fps)
    with _in_section("sample"):
        return read_inputs(section, fps, loaded.recipe.curate.decode)


def _settings(
    loaded: LoadedRecipe, variant: Variant, dtype: torch.dtype, files: InputFiles
) -> Settings:
    """The recipe's `sample` section with the variant's defaults filled in, checked.

    Raises:
        ProblemsError: a name, a size or a device is not possible.
    """
    section, model, defaults = loaded.recipe.sample, loaded.recipe.model, variant.defaults
    asked = Asked(section.frames, section.height, section.width, exact=section.fit == "exact")
    with _in_section("sample"):
        name = section.task or variant.tasks[0]
        if problem := task_problem(variant, name):
            raise UserError(f"task: {problem}")
        task = get_task(name)
        size = task.size(files.inputs, asked, defaults, variant.vae)
    area = _or(section.height, defaults.height) * _or(section.width, defaults.width)
    settings = Settings(
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
        seed=section.seed if section.seed >= 0 else secrets.randbelow(MAX_RANDOM_SEED),
        noise_device=section.noise_device,
        crf=section.crf,
        fit=section.fit,
        given_frames=section.given_frames,
        inputs=files.hashes,
        vace=files.inputs.vace,
        precision=model.precision,
        dtype=str(dtype).removeprefix("torch."),
    )
    with _in_section("sample"):
        task.latent_shape(variant.vae, *size, files.inputs)
        _check_experts(settings, variant)
        make_schedule(settings.solver, settings.steps, settings.shift)
        if settings.noise_device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "noise_device: got 'cuda', but this machine has no CUDA device; say "
                "`--set sample.noise_device=cpu` (the same seed gives other noise there)"
            )
    if section.seed < 0:
        log.info("seed %d", settings.seed)
    return settings


def _check_experts(settings: Settings, variant: Variant) -> None:
    """What is said of two experts of a model that has one.

    Raises:
        UserError: `KEY: message`.
    """
    if variant.experts == 2:
        return
    if isinstance(settings.guide_scale, tuple):
        raise UserError(
            f"guide_scale: got two for {variant.name}, which is one transformer; need a number"
        )
    if settings.boundary is not None:
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


def _is_done(job: Job, *, latents: bool) -> bool:
    """Whether an earlier run made this very output; files are written whole or not at all."""
    done = job.path.is_file() and (not latents or job.latents_path.is_file())
    if done:
        log.info("%s is there already", job.path)
    return done
