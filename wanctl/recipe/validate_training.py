"""Checks of the training sections that need a table, for `wanctl.recipe.validate`."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from wanctl.data.buckets import bucket_name, bucket_problems
from wanctl.errors import unknown
from wanctl.model.shapes import PATCH, TEMPORAL_STRIDE
from wanctl.model.variant_table import find_variant
from wanctl.model.variants import Variant
from wanctl.recipe.schema import Recipe
from wanctl.recipe.section import Finding, Section, default_of
from wanctl.recipe.train.dit import TrainDiTSection
from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.recipe.train.section import Bucket, TrainSection
from wanctl.recipe.train.tasks import ConditionsSection
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.recipe.train.vace_training import VaceTrainingSection

# Key of `train_dit.conditions` -> tasks that read it. `_vace` speaks of the dropout of vace.
GIVEN_FRAMES = frozenset({"i2v", "flf2v", "continuation", "interpolation"})
CONDITION_TASKS = {
    "continuation_s": frozenset({"continuation"}),
    "interpolation_frames": frozenset({"interpolation"}),
    "draws_per_window": frozenset({"continuation", "interpolation", "vace"}),
    "dropout": GIVEN_FRAMES | {"ti2v", "vace"},
    "known_frames_weight": GIVEN_FRAMES,
}


def check_train_vae(recipe: Recipe) -> Iterator[Finding]:
    """Findings about `train_vae`."""
    yield from _train("train_vae", recipe, recipe.train_vae, patch=1)
    yield from _trained_parts(recipe)
    discriminator = recipe.train_vae.loss.adversarial.optimizer
    precision = recipe.train_vae.mixed_precision
    yield from _optimizer("train_vae.loss.adversarial", discriminator, 0, precision)
    for at, optimizer in (("", recipe.train_vae.optimizer), ("loss.adversarial.", discriminator)):
        if optimizer.weights == "bf16":
            message = "got bf16; a VAE is measured in fp32 and keeps such weights: leave it out"
            yield f"train_vae.{at}optimizer.weights", message


def _trained_parts(recipe: Recipe) -> Iterator[Finding]:
    section, model = recipe.train_vae, recipe.model
    if {"all", "encoder", "decoder"}.issuperset(section.trained) or section.network != "vae":
        return
    variant = find_variant(model.variant)
    if variant is not None:
        from wanctl.train.vae.parts import part_problems  # noqa: PLC0415

        ref = model.vae_weights or model.weights
        for index, message in part_problems(variant, ref, section.trained).items():
            yield f"train_vae.trained.{index}", message


def check_train_dit(recipe: Recipe) -> Iterator[Finding]:
    """Findings about `train_dit`."""
    yield from _train("train_dit", recipe, recipe.train_dit, patch=PATCH[1])
    yield from _timesteps(recipe.train_dit)
    yield from _tasks(recipe)
    yield from _trained_weights(recipe)
    yield from _experts(recipe.train_dit, find_variant(recipe.model.variant))
    yield from _vace(recipe)
    yield from _conditions(recipe)
    yield from _task_captions(recipe)


def _trained_weights(recipe: Recipe) -> Iterator[Finding]:
    """Patterns that match no layer or parameter of the transformer, ranks that are too large."""
    section, variant = recipe.train_dit, find_variant(recipe.model.variant)
    trained = section.trained or ("all",)
    if variant is None or (section.adapter is None and "all" in trained):
        return

    from wanctl.train.adapters.check import trained_problems  # noqa: PLC0415

    adapter = section.adapter and section.adapter.model_dump(exclude={"base", "layout"})
    yield from trained_problems(variant, recipe.model.weights, trained, adapter)


def _tasks(recipe: Recipe) -> Iterator[Finding]:
    """Tasks that the variant cannot do, or for which there is no bucket."""
    section, variant = recipe.train_dit, find_variant(recipe.model.variant)
    how = section.conditions
    if variant is None or not (
        section.tasks or how.clip_branch is not None or "t2v" not in variant.tasks
    ):
        return  # text to video and images, which take every bucket

    from wanctl.train.dit.tasks.api import TaskOptions  # noqa: PLC0415
    from wanctl.train.dit.tasks.choice import can_train, task_problems  # noqa: PLC0415
    from wanctl.train.dit.vace.options import control_options  # noqa: PLC0415

    if not section.tasks and not can_train(variant):
        return  # a recipe that only samples; `train-dit` refuses it at its start
    options = TaskOptions(
        how.continuation_s, how.interpolation_frames, control_options(section.vace.model_dump())
    )
    problems = task_problems(section.tasks, variant, how.clip_branch, section.buckets, options)
    for path, message in problems:
        yield f"train_dit.{path}", message


def _experts(section: TrainDiTSection, variant: Variant | None) -> Iterator[Finding]:
    """Keys of two experts where there is one transformer, or where one of them is trained."""
    if variant is None:
        return
    if variant.experts == 1:
        keys, why = ("experts", "expert_steps", "expert_share"), f"{variant.name} has no experts"
    elif section.experts != "both":
        keys, why = ("expert_steps", "expert_share"), f"{section.experts} learns in every step"
    else:
        return
    for key in keys:
        value = getattr(section, key)
        if value != default_of(type(section), key):
            yield f"train_dit.{key}", f"got {value}, and {why}; leave it out"


def _vace(recipe: Recipe) -> Iterator[Finding]:
    """Keys of VACE without that task, and keys that it does not use."""
    section, variant = recipe.train_dit, find_variant(recipe.model.variant)
    if variant is None:
        return
    tasks = list(section.tasks or variant.tasks[:1])
    if "vace" in tasks and section.conditions.dropout:
        message = (
            f"got {section.conditions.dropout:g}, which task vace does not use: leave it out; "
            "train_dit.vace.kinds.text is the weight of samples without a control"
        )
        yield "train_dit.conditions.dropout", message
    if "vace" not in tasks and section.vace != VaceTrainingSection():
        named = ", ".join(tasks)
        yield "train_dit.vace", f"has no effect on task {named}; leave it out, or train task vace"


def _conditions(recipe: Recipe) -> Iterator[Finding]:
    """Keys of inputs that no task of the run draws."""
    section, variant = recipe.train_dit, find_variant(recipe.model.variant)
    if variant is None or section.conditions == ConditionsSection():
        return
    tasks = list(section.tasks or variant.trained_tasks)
    for key, able in CONDITION_TASKS.items():
        value = getattr(section.conditions, key)
        if value != default_of(ConditionsSection, key) and able.isdisjoint(tasks):
            shown = list(value) if isinstance(value, tuple) else value
            message = f"got {shown}, which no task here uses ({', '.join(tasks)}); leave it out"
            yield f"train_dit.conditions.{key}", message


def _task_captions(recipe: Recipe) -> Iterator[Finding]:
    """Captions of tasks that the run does not train."""
    section, variant = recipe.train_dit, find_variant(recipe.model.variant)
    tasks = section.tasks or (variant.trained_tasks if variant else ())
    for task in section.task_captions if tasks else ():
        if task not in tasks:
            message = f"is no task of this run, which trains {', '.join(tasks)}; leave it out"
            yield f"train_dit.task_captions.{task}", message


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
        if value != default_of(type(section), other):
            got = "has keys" if isinstance(value, Section) else f"got {value}"
            yield f"{at}.{other}", f"{got}, which {name} does not use; leave it out"


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
            if (value := getattr(timesteps, key)) != default_of(type(timesteps), key):
                message = f"got {value}, and bucket_shifts has every bucket; leave it out"
                yield f"{at}.{key}", message


def _train(name: str, recipe: Recipe, section: TrainSection, patch: int) -> Iterator[Finding]:
    variant = find_variant(recipe.model.variant)
    if variant is not None:
        multiple = variant.vae.spatial_stride * patch
        for path, message in bucket_problems(
            section.buckets, temporal_stride=TEMPORAL_STRIDE, spatial_multiple=multiple
        ):
            yield f"{name}.buckets.{path}", f"{message} ({variant.name})"
    if section.tokens_per_batch and all(bucket.batch_size for bucket in section.buckets):
        message = f"got {section.tokens_per_batch}, and every bucket has a batch_size; leave it out"
        yield f"{name}.tokens_per_batch", message
    if section.trackers != default_of(type(section), "trackers"):
        from wanctl.train.accelerator import TRACKERS  # noqa: PLC0415

        for index, tracker in enumerate(section.trackers):
            if tracker not in TRACKERS:
                message = unknown("tracker", tracker, TRACKERS)
                yield f"{name}.trackers.{index}", message
    if section.ema_device != default_of(type(section), "ema_device") and not section.ema_decay:
        message = f"got {section.ema_device}, but ema_decay 0 keeps no average; leave it out"
        yield f"{name}.ema_device", message
    yield from _optimizer(name, section.optimizer, section.ema_decay, section.mixed_precision)
    wait = section.optimizer.plateau.patience * section.eval_every
    if section.optimizer.decay == "plateau" and wait >= section.steps:
        message = (
            f"got plateau, which lowers lr after {wait} steps (patience times eval_every) at the "
            f"earliest, and the run has {section.steps}; evaluate more often"
        )
        yield f"{name}.optimizer.decay", message


def _optimizer(
    name: str, options: OptimizerSection, ema_decay: float, mixed_precision: str
) -> Iterator[Finding]:
    at = f"{name}.optimizer"
    if all(
        getattr(options, key) == default_of(type(options), key)
        for key in ("name", "adamw_lr", "momentum", "decay", "final_share", "plateau", "weights")
    ):
        return  # AdamW with keys that it has

    from wanctl.train.optimizers.schedule import DECAYS  # noqa: PLC0415
    from wanctl.train.optimizers.table import OPTIMIZERS  # noqa: PLC0415

    optimizers = {name: row.keys for name, row in OPTIMIZERS.items()}
    yield from _row_and_its_keys(options, at, "name", "optimizer", optimizers)
    decays = {name: decay.keys for name, decay in DECAYS.items()}
    yield from _row_and_its_keys(options, at, "decay", "decay", decays)
    if options.weights == "bf16" and mixed_precision != "bf16":
        message = f"got bf16 with mixed_precision {mixed_precision}; set mixed_precision: bf16"
        yield f"{at}.weights", message
    if (row := OPTIMIZERS.get(options.name)) is None:
        return
    if row.averages and options.decay != "constant":
        yield f"{at}.decay", f"got {options.decay}; {options.name} takes `constant`"
    if row.averages and ema_decay:
        message = f"got {ema_decay}; {options.name} averages the weights itself: say 0"
        yield f"{name}.ema_decay", message
    if row.one_rate:
        for index, group in enumerate(options.groups):
            if group.lr_factor != 1:
                message = (
                    f"got {group.lr_factor}; {options.name} has one rate for all; leave it out"
                )
                yield f"{at}.groups.{index}.lr_factor", message
