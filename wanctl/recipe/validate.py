"""Checks what needs a table: names (filter, variant, solver ...) and sizes that a variant takes.

The rest of `wanctl.recipe` imports no tables. Each command checks the sections that it uses before
any work, `wanctl recipe check` checks all of them. Tables whose modules import torch (two seconds)
are imported only where a value differs from its default.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from wanctl.caption.backends import captioner_names
from wanctl.curate.engines.table import ENGINES
from wanctl.curate.registry import PACK, build_filters, filter_class, filter_names
from wanctl.curate.split.shots import AUTO, DETECTORS
from wanctl.data.buckets import bucket_name, bucket_problems
from wanctl.errors import ProblemsError, unknown
from wanctl.exchange.layouts import LAYOUTS
from wanctl.model.shapes import PATCH, TEMPORAL_STRIDE
from wanctl.model.variants import VARIANTS, task_problem
from wanctl.recipe.load import LoadedRecipe, Problem, RecipeError, load_recipe
from wanctl.recipe.schema import Recipe
from wanctl.recipe.section import Section
from wanctl.recipe.train.dit import TrainDiTSection
from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.recipe.train.section import Bucket, TrainSection
from wanctl.recipe.train.timesteps import TimestepsSection

Finding = tuple[str, str]
"""Dotted recipe path and message."""


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
    problems = [
        problem
        for section in (CHECKS if sections is None else sections)
        for problem in CHECKS[section](recipe)
    ]
    if problems:
        raise ProblemsError(problems)


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
    variant = VARIANTS.get(section.variant)
    if section.attention != _default_of(type(section), "attention"):
        from wanctl.runtime.attention_kernels import NAMES  # noqa: PLC0415

        if section.attention not in NAMES:
            yield "model.attention", unknown("kernel", section.attention, NAMES)
    if variant is None:
        yield "model.variant", unknown("variant", section.variant, VARIANTS)
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


def _train_vae(recipe: Recipe) -> Iterator[Finding]:
    yield from _train("train_vae", recipe, recipe.train_vae, patch=1)
    discriminator = recipe.train_vae.loss.adversarial.optimizer
    yield from _optimizer("train_vae.loss.adversarial", discriminator, ema_decay=0)


def _train_dit(recipe: Recipe) -> Iterator[Finding]:
    yield from _train("train_dit", recipe, recipe.train_dit, patch=PATCH[1])
    yield from _timesteps(recipe.train_dit)


def _timesteps(section: TrainDiTSection) -> Iterator[Finding]:
    """Names of laws, formulas and weightings, and keys that the chosen ones do not use."""
    timesteps, at = section.timesteps, "train_dit.timesteps"
    if timesteps == TimestepsSection(shift=timesteps.shift):
        return  # names and keys that need no table

    from wanctl.diffusion.timesteps import LAWS  # noqa: PLC0415
    from wanctl.train.dit.noise.shifts import SHIFT_FORMULAS  # noqa: PLC0415
    from wanctl.train.dit.noise.weights import WEIGHTING_KEYS, WEIGHTINGS  # noqa: PLC0415

    formulas = {name: formula.keys for name, formula in SHIFT_FORMULAS.items()}
    tables: Sequence[tuple[str, str, Mapping[str, Collection[str]]]] = (
        ("law", "law", {name: law.keys for name, law in LAWS.items()}),
        ("shift_formula", "formula", formulas),
        ("weighting", "weighting", {name: WEIGHTING_KEYS.get(name, ()) for name in WEIGHTINGS}),
    )
    for key, kind, rows in tables:
        yield from _row_and_its_keys(timesteps, at, key, kind, rows)
    yield from _shifts(timesteps, formulas.get(timesteps.shift_formula, ()), section.buckets)


def _row_and_its_keys(
    section: Section, at: str, key: str, kind: str, rows: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """The name that `key` holds, and keys of other rows of its table that are set.

    Args:
        section: holds the keys.
        at: its path.
        key: that names a row.
        kind: what a row is.
        rows: name -> keys that the row uses.
    """
    name = getattr(section, key)
    if name not in rows:
        yield f"{at}.{key}", unknown(kind, name, rows)
        return
    for other in sorted({key for keys in rows.values() for key in keys} - set(rows[name])):
        value = getattr(section, other)
        if value != _default_of(type(section), other):
            yield f"{at}.{other}", f"got {value}, which {name} does not use; leave it out"


def _shifts(
    timesteps: TimestepsSection, needed: Collection[str], buckets: Sequence[Bucket]
) -> Iterator[Finding]:
    """Keys that the formula of the shift needs, and the shifts of single buckets."""
    at = "train_dit.timesteps"
    for key in needed:
        if getattr(timesteps, key) is None:
            yield f"{at}.shift_formula", f"{timesteps.shift_formula} needs {key}; set it"
    if "max_shift_tokens" in needed and timesteps.max_shift_tokens == timesteps.shift_tokens:
        message = f"got {timesteps.max_shift_tokens}, which shift_tokens is too; must differ"
        yield f"{at}.max_shift_tokens", message
    names = [bucket_name(bucket) for bucket in buckets]
    for name in timesteps.bucket_shifts:
        if name not in names:
            yield f"{at}.bucket_shifts.{name}", unknown("bucket", name, names)
    if set(names) <= timesteps.bucket_shifts.keys():
        for key in ("shift", "shift_formula"):
            if (value := getattr(timesteps, key)) != _default_of(type(timesteps), key):
                message = f"got {value}, and bucket_shifts has every bucket; leave it out"
                yield f"{at}.{key}", message


def _train(name: str, recipe: Recipe, section: TrainSection, patch: int) -> Iterator[Finding]:
    variant = VARIANTS.get(recipe.model.variant)
    if variant is not None:
        multiple = variant.vae.spatial_stride * patch
        for path, message in bucket_problems(
            section.buckets, temporal_stride=TEMPORAL_STRIDE, spatial_multiple=multiple
        ):
            yield f"{name}.buckets.{path}", f"{message} ({variant.name})"
    if section.trackers != _default_of(type(section), "trackers"):
        from wanctl.train.accelerator import TRACKER_MODULES  # noqa: PLC0415

        for index, tracker in enumerate(section.trackers):
            if tracker not in TRACKER_MODULES:
                message = unknown("tracker", tracker, TRACKER_MODULES)
                yield f"{name}.trackers.{index}", message
    yield from _optimizer(name, section.optimizer, section.ema_decay)


def _optimizer(name: str, options: OptimizerSection, ema_decay: float) -> Iterator[Finding]:
    keys = ("name", "adamw_lr", "momentum")
    if all(getattr(options, key) == _default_of(type(options), key) for key in keys):
        return  # AdamW with keys that it has

    from wanctl.train.optimizers.table import OPTIMIZERS  # noqa: PLC0415

    row = OPTIMIZERS.get(options.name)
    if row is None:
        yield f"{name}.optimizer.name", unknown("optimizer", options.name, OPTIMIZERS)
        return
    for key in sorted(frozenset().union(*(each.keys for each in OPTIMIZERS.values())) - row.keys):
        value, default = getattr(options, key), _default_of(type(options), key)
        if value != default:
            message = f"got {value}, which {options.name} does not use; leave it out"
            yield f"{name}.optimizer.{key}", message
    if row.averages and options.decay != "constant":
        message = f"got {options.decay}; {options.name} takes `constant`"
        yield f"{name}.optimizer.decay", message
    if row.averages and ema_decay:
        message = f"got {ema_decay}; {options.name} averages the weights itself: say 0"
        yield f"{name}.ema_decay", message


def _sample(recipe: Recipe) -> Iterator[Finding]:
    section = recipe.sample
    if section.solver is not None:
        from wanctl.diffusion.solvers import SOLVERS  # noqa: PLC0415

        if section.solver not in SOLVERS:
            yield "sample.solver", unknown("solver", section.solver, SOLVERS)
    if section.vace != _default_of(type(section), "vace"):
        from wanctl.tasks.vace.masks import FORMS  # noqa: PLC0415
        from wanctl.tasks.vace.source import FILLS  # noqa: PLC0415

        if section.vace.control not in FILLS:
            yield "sample.vace.control", unknown("control", section.vace.control, FILLS)
        if section.vace.mask_form not in FORMS:
            yield "sample.vace.mask_form", unknown("form", section.vace.mask_form, FORMS)
    if section.task is not None:
        variant = VARIANTS.get(recipe.model.variant)
        if problem := task_problem(variant, section.task):
            yield "sample.task", problem


def _default_of(section: type[Any], key: str) -> Any:
    return section.model_fields[key].default


CHECKS: dict[str, Callable[[Recipe], Iterator[Finding]]] = {
    "curate": _curate,
    "caption": _caption,
    "export": _export,
    "model": _model,
    "train_vae": _train_vae,
    "train_dit": _train_dit,
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
