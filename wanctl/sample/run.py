"""`wanctl sample`: prompts to files.

Every output carries its settings in its header, and their hash in its file name. A command
that was stopped, or whose file of prompts grew, therefore samples only what is missing. This module
and `settings.py` read the recipe; everything below takes plain values.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.recognition.model_choice import ModelChoice, ModelKeys, choose_model
from wanctl.checkpoint.registry.rules import warn_of_fixed
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.device import pick_dtype
from wanctl.distributed.context import DistributedContext, distributed_context
from wanctl.distributed.layout import ParallelOptions
from wanctl.errors import ProblemsError, UserError
from wanctl.log import log
from wanctl.model.variants import Variant
from wanctl.recipe.derive import parse_cell, with_sample_values
from wanctl.recipe.generation.sampling import MAX_SEED
from wanctl.recipe.load import LoadedRecipe, Place, RecipeError
from wanctl.recipe.schema import SampleSection
from wanctl.sample.denoise.previews import load_previews
from wanctl.sample.grid import make_overview
from wanctl.sample.inputs import InputCache
from wanctl.sample.outputs import OutputFolder
from wanctl.sample.pipeline import SamplingPipeline
from wanctl.sample.plans import show_plans
from wanctl.sample.prompts import PromptError, PromptLine, read_prompts
from wanctl.sample.request import SampleRequest
from wanctl.sample.rewrite.requests import located, rewrite_requests
from wanctl.sample.settings import build_request
from wanctl.sample.sweep import check_phases, scaled_weights, strength_notes, write_outputs
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatError, ChatModel, ChatModelOptions

MAX_RANDOM_SEED = 2**31
MAX_REPEAT = 10_000
REWRITES = "rewrites"
"""Folder of a run that keeps rewritten prompts."""


def sample(
    loaded: LoadedRecipe,
    prompt: str,
    out: Path,
    repeat: int = 1,
    *,
    plan_only: bool = False,
    as_json: bool = False,
) -> list[Path]:
    """Sample a video, or an image where `sample.frames` is 1, for every prompt.

    All prompts of a file share the seed, so that an output does not depend on its neighbours.

    Args:
        loaded: the recipe.
        prompt: text, or the path of a file of prompts.
        out: the run folder; files go to `out/samples`.
        repeat: number of seeds per prompt, from the prompt's own seed on.
        plan_only: print the estimate and sample nothing.
        as_json: print it as JSON.

    Returns:
        The files of all prompts in order, written now or earlier, and their grid if the recipe
        asks for one; of several processes, only the first one's list holds them.

    Raises:
        UserError: bad prompt, size, name or device; weights that cannot be found.
    """
    with distributed_context(loaded.recipe.device) as distributed:
        if repeat not in range(1, MAX_REPEAT + 1):
            raise UserError(f"--repeat: got {repeat}; must be 1 to {MAX_REPEAT}")
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: is a file; outputs need a folder, name another with --out")
        decode = loaded.recipe.curate.decode
        cache = InputCache(decode.timeout_s, int(decode.memory_gb * 2**30))
        choice = distributed.broadcast_from_main(lambda: _choice(loaded))
        requests = _requests_of_command(loaded, choice, prompt, distributed, repeat, cache)
        if plan_only:
            show_plans(requests, choice.variant, distributed.device, out, as_json=as_json)
            return []
        return _sample(loaded, choice.variant, requests, out, distributed, repeat, cache)


def recipe_for_line(loaded: LoadedRecipe, line: PromptLine) -> LoadedRecipe:
    """The recipe with the values of one line of a file of prompts.

    Raises:
        PromptError: a value that its key does not take; one line per mistake.
    """
    if not line.values or line.file is None:
        return loaded
    try:
        return with_sample_values(loaded, line.values, Place(line.file, line.line))
    except RecipeError as error:
        raise PromptError(*error.lines) from None


def _requests_of_command(
    loaded: LoadedRecipe,
    choice: ModelChoice,
    prompt: str,
    distributed: DistributedContext,
    repeat: int,
    cache: InputCache,
) -> list[SampleRequest]:
    """The outputs of the command, checked, the same in every process; logs their seeds."""
    recipe = loaded.recipe
    lines = read_prompts(prompt, SampleSection.model_fields, parse_cell)
    dtype = pick_dtype(recipe.model.dtype, distributed.device)
    random_seed = secrets.randbelow(MAX_RANDOM_SEED)
    build_one = partial(
        build_request, variant=choice.variant, dtype=dtype, cache=cache, seed=random_seed
    )

    def build(own: LoadedRecipe, text: str) -> SampleRequest:
        warn_of_fixed(choice.fixed, dict(own.recipe.sample), choice.variant.defaults)
        request = build_one(own, text)
        return replace(request, header={**request.header, **choice.metadata()})

    requests = distributed.broadcast_from_main(
        lambda: _build_requests(loaded, lines, repeat, build)
    )
    seeds = list(dict.fromkeys(request.seed for request in requests))
    if repeat > 1 or random_seed in seeds:
        log.info("%s %s", "seed" if len(seeds) == 1 else "seeds", ", ".join(map(str, seeds)))
    requests[0].placement.check(distributed.device, dtype)
    return requests


def _sample(
    loaded: LoadedRecipe,
    variant: Variant,
    requests: Sequence[SampleRequest],
    out: Path,
    distributed: DistributedContext,
    repeat: int,
    cache: InputCache,
) -> list[Path]:
    recipe = loaded.recipe
    weights = distributed.broadcast_from_main(_weights_resolver(loaded, variant, out).resolve)
    check_phases(requests, weights)
    if any(request.rewrite for request in requests):
        requests = distributed.broadcast_from_main(
            lambda: rewrite_requests(requests, cache, _chat_model(loaded), out / REWRITES)
        )
    latents, strengths = recipe.sample.save_latents, recipe.sample.lora_strengths
    layout = ParallelOptions(**recipe.parallel.model_dump())
    columns: list[list[Path]] = []  # of the grid: one for each strength
    by_path: dict[Path, SampleRequest] = {}
    for scaled in scaled_weights(weights, strengths):
        outputs = OutputFolder(out, scaled)
        by_path = {outputs.path(request): request for request in requests}
        missing = distributed.broadcast_from_main(
            lambda by_path=by_path, outputs=outputs: [
                p for p, each in by_path.items() if not outputs.exists(each, latents)
            ]
        )
        if missing:
            try:
                pipeline = SamplingPipeline(
                    [by_path[path] for path in missing], cache, outputs, scaled, variant,
                    distributed, layout, recipe.sample.batch,
                )  # fmt: skip
            except ProblemsError as error:
                raise loaded.locate(error) from None
            if recipe.sample.preview_decoder and distributed.is_main_process:
                pipeline.previews = load_previews(
                    recipe.sample.preview_decoder, recipe.sample.preview_every,
                    pipeline.vae.shape, outputs, distributed.device,
                )  # fmt: skip
            write_outputs(pipeline, outputs, save_latents=latents and distributed.is_main_process)
        columns.append(list(by_path))
    if not distributed.is_main_process:
        return []
    paths = [path for row in zip(*columns, strict=True) for path in row]
    if not (recipe.sample.grid or strengths):
        return paths
    shown = [request for request in by_path.values() for _ in columns]
    notes = list(strength_notes(strengths, len(by_path)))
    width = recipe.sample.grid_columns or len(strengths) or None
    return [*paths, make_overview(shown, paths, width, repeat, notes)]


def _choice(loaded: LoadedRecipe) -> ModelChoice:
    """The model of the recipe; a log line says by which rule it is run."""
    try:
        choice = choose_model(ModelKeys(**loaded.recipe.model.choice), download=True)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    choice.report()
    return choice


def _chat_model(loaded: LoadedRecipe) -> ChatModel | None:
    """The model that rewrites prompts, not loaded yet; None where rules do."""
    section = loaded.recipe.sample.rewrite.model
    if section is None:
        return None
    options = ChatModelOptions(**section.model_dump(), device=loaded.recipe.device)
    try:
        return build_chat_model(options)
    except ChatError as error:
        raise located(error) from None


def _weights_resolver(loaded: LoadedRecipe, variant: Variant, out: Path) -> WeightsResolver:
    model = loaded.recipe.model
    loras = tuple(Lora(Path(each.path), each.strength, each.expert) for each in model.loras)
    keys = (
        "weights", "low_weights", "vae_weights", "text_weights", "image_weights", "audio_weights",
        "strict", "identity", "low_identity",
    )  # fmt: skip
    named = {key: getattr(model, key) for key in keys}
    return WeightsResolver(out=out, variant=variant, loras=loras, **named)


def _build_requests(
    loaded: LoadedRecipe,
    lines: Sequence[PromptLine],
    repeat: int,
    build: Callable[[LoadedRecipe, str], SampleRequest],
) -> list[SampleRequest]:
    """Requests of all lines, `repeat` seeds each, checked before any work.

    Raises:
        PromptError: with the mistakes of all lines, one per line.
    """
    requests: list[SampleRequest] = []
    problems: list[str] = []
    for line in lines:
        own = loaded
        try:
            own = recipe_for_line(loaded, line)
            request = build(own, line.prompt)
        except ProblemsError as error:
            problems += own.locate(error).lines
            continue
        except PromptError as error:
            problems += error.lines
            continue
        if request.seed + repeat - 1 > MAX_SEED:
            where = own.locate(ProblemsError([("sample.seed", "")])).problems[0].place
            problems.append(
                f"{where}: sample.seed: got {request.seed}; with --repeat {repeat} it counts past "
                f"{MAX_SEED}, the largest seed; lower it"
            )
        requests += [replace(request, seed=request.seed + number) for number in range(repeat)]
    if problems:
        raise PromptError(*dict.fromkeys(problems))
    return requests
