"""Checks what needs a table: names (filter, variant, solver ...) and sizes that a variant takes.

The rest of `wanctl.recipe` imports no tables. Each command checks the sections that it uses before
any work, `wanctl recipe check` checks all of them. Tables whose modules import torch (two seconds)
are imported only where a value differs from its default.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wanctl.caption.backends import captioner_names
from wanctl.curate.engines.table import ENGINES
from wanctl.curate.registry import PACK, build_filters, filter_class, filter_names
from wanctl.curate.split.shots import AUTO, DETECTORS
from wanctl.errors import ProblemsError, unknown
from wanctl.exchange.layouts import LAYOUTS
from wanctl.model.noise_levels import levels_problem
from wanctl.model.variant_table import VARIANTS, find_variant, task_problem
from wanctl.recipe.load import LoadedRecipe, Problem, RecipeError, load_recipe
from wanctl.recipe.schema import Recipe
from wanctl.recipe.section import Finding, default_of
from wanctl.recipe.validate_training import check_train_dit, check_train_vae


def load_checked(
    name_or_path: str, overrides: Sequence[str] = (), sections: Sequence[str] | None = None
) -> LoadedRecipe:
    """Read a recipe and check it against the tables; problems of both kinds are raised together.

    Args:
        name_or_path: a recipe file or the name of a shipped one.
        overrides: `a.b=c` each.
        sections: keys of CHECKS; all of them by default.

    Raises:
        RecipeError: every problem at its file and line.
    """
    problems: list[Problem] = []
    try:
        loaded = load_recipe(name_or_path, overrides)
    except RecipeError as error:
        if error.partial is None:
            raise
        problems, loaded = error.problems, error.partial
    try:
        check_sections(loaded.recipe, sections)
    except ProblemsError as error:
        problems = problems + loaded.locate(error).problems
    if problems:
        raise RecipeError(problems)
    return loaded


def check_sections(recipe: Recipe, sections: Sequence[str] | None = None) -> None:
    """Check names, and sizes that depend on the variant.

    Args:
        recipe: the recipe.
        sections: keys of CHECKS; all of them by default.

    Raises:
        ProblemsError: every problem with its recipe path.
    """
    names = CHECKS if sections is None else sections
    problems: list[Finding] = []
    if MODEL_SECTIONS & set(names):
        recipe, problems = _with_variant(recipe)
    problems += [problem for section in names for problem in CHECKS[section](recipe)]
    if problems:
        raise ProblemsError(list(dict.fromkeys(problems)))


def _with_variant(recipe: Recipe) -> tuple[Recipe, list[Finding]]:
    """The recipe with the variant of its weights, and what is wrong with its choice of a model."""
    model = recipe.model
    if not (model.weights or model.checkpoint or model.accept_license or model.loras):
        return recipe, []
    from wanctl.checkpoint.recognition.model_choice import ModelKeys, choose_model  # noqa: PLC0415

    try:
        variant = choose_model(ModelKeys(**model.choice)).variant.name
    except ProblemsError as error:
        return recipe, error.problems
    chosen = model.model_copy(update={"variant": variant})
    return recipe.model_copy(update={"model": chosen}), []


def _curate(recipe: Recipe) -> Iterator[Finding]:
    if recipe.curate.engine not in ENGINES:
        yield "curate.engine", unknown("engine", recipe.curate.engine, ENGINES)
    if recipe.curate.split.detector not in (AUTO, *DETECTORS):
        message = unknown("detector", recipe.curate.split.detector, (AUTO, *DETECTORS))
        yield "curate.split.detector", message
    try:
        build_filters(recipe.curate.filters)
    except ProblemsError as error:
        yield from error.problems


def _caption(recipe: Recipe) -> Iterator[Finding]:
    if recipe.caption.engine not in ENGINES:  # the same ones
        yield "caption.engine", unknown("engine", recipe.caption.engine, ENGINES)
    names = captioner_names()
    for index, backend in enumerate(recipe.caption.backends):
        if backend not in names:
            yield f"caption.backends.{index}", unknown("caption backend", backend, names)


def _export(recipe: Recipe) -> Iterator[Finding]:
    section = recipe.export
    if section.layout not in LAYOUTS:
        yield "export.layout", unknown("layout", section.layout, LAYOUTS)


def _model(recipe: Recipe) -> Iterator[Finding]:
    section = recipe.model
    variant = find_variant(section.variant)
    if section.attention != default_of(type(section), "attention"):
        from wanctl.runtime.attention_kernels import NAMES  # noqa: PLC0415

        if section.attention not in NAMES:
            yield "model.attention", unknown("kernel", section.attention, NAMES)
    if variant is None:
        yield "model.variant", unknown("variant", str(section.variant), VARIANTS)
        return
    if variant.experts == 1:
        for index, lora in enumerate(section.loras):
            if lora.expert is not None:
                one = f"{variant.name} is one transformer"
                message = f"got {lora.expert!r}, and {one}; leave it out"
                yield f"model.loras.{index}.expert", message
    if section.vae_tile is not None:
        from wanctl.runtime.vae_tiles import MIN_TILE  # noqa: PLC0415

        tile, stride = section.vae_tile, variant.vae.spatial_stride
        least = MIN_TILE * stride
        if tile % stride or tile < least:
            message = f"got {tile}; must be a multiple of {stride} and at least {least}"
            yield "model.vae_tile", message


def _sample(recipe: Recipe) -> Iterator[Finding]:
    section = recipe.sample
    if section.solver is not None:
        from wanctl.diffusion.solvers import SOLVERS  # noqa: PLC0415

        if section.solver not in SOLVERS:
            yield "sample.solver", unknown("solver", section.solver, SOLVERS)
    if section.levels and (problem := levels_problem(section.levels)):
        yield "sample.levels", problem
    if section.vace != default_of(type(section), "vace"):
        from wanctl.tasks.vace.masks import FORMS  # noqa: PLC0415
        from wanctl.tasks.vace.source import FILLS  # noqa: PLC0415

        if section.vace.control not in FILLS:
            yield "sample.vace.control", unknown("control", section.vace.control, FILLS)
        if section.vace.mask_form not in FORMS:
            yield "sample.vace.mask_form", unknown("form", section.vace.mask_form, FORMS)
    if section.task is not None:
        variant = find_variant(recipe.model.variant)
        if problem := task_problem(variant, section.task):
            yield "sample.task", problem


MODEL_SECTIONS = {"model", "sample", "train_vae", "train_dit"}
"""Those that depend on the variant."""

CHECKS: dict[str, Callable[[Recipe], Iterator[Finding]]] = {
    "curate": _curate,
    "caption": _caption,
    "export": _export,
    "model": _model,
    "train_vae": check_train_vae,
    "train_dit": check_train_dit,
    "sample": _sample,
}


def schema_text() -> str:
    """Return the JSON schema of recipes as text, with the keys of every built-in filter."""
    schema = Recipe.model_json_schema()
    keys: dict[str, Any] = {}
    for name in filter_names():
        cls = filter_class(name)
        # plug-ins differ between machines, the shipped schema must not
        if not cls.__module__.startswith(f"{PACK}."):
            continue
        filter_schema = cls.model_json_schema(ref_template="#/$defs/{model}")
        schema["$defs"] |= filter_schema.pop("$defs", {})
        schema["$defs"][f"filters.{name}"] = filter_schema
        # false takes out a filter of the base (load.py)
        allowed = [{"$ref": f"#/$defs/filters.{name}"}, {"type": "null"}, {"const": False}]
        keys[name] = {"anyOf": allowed}
    schema["$defs"]["CurateSection"]["properties"]["filters"]["properties"] = keys
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
