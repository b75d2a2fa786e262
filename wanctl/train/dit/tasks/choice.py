"""Which tasks a run is trained on: the recipe's, or those of the variant; and whether they can be.

Torch is imported with the tables, so a recipe without `train_dit.tasks` is checked without them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wanctl.data.buckets import BucketLike
from wanctl.errors import unknown
from wanctl.model.variants import DiTShape, Variant
from wanctl.tasks.table import TASKS, get_task
from wanctl.train.dit.tasks.api import TaskOptions, TrainingTask
from wanctl.train.dit.tasks.table import TRAINING_TASKS


def dit_to_train(variant: Variant, clip_branch: bool | None) -> DiTShape:
    """Sizes of the variant's transformer, without its image branch where that is not trained."""
    if clip_branch is False:
        return replace(variant.dit, image_dim=None, image_tokens=None)
    return variant.dit


def task_weights(requested: Mapping[str, float], variant: Variant) -> dict[str, float]:
    """The recipe's tasks; without any, those of the variant."""
    return dict(requested) or dict.fromkeys(variant.trained_tasks, 1.0)


def can_train(variant: Variant) -> bool:
    """Whether a run without `train_dit.tasks` has a task to train this variant on."""
    return not variant.dit.frame_rates and TRAINING_TASKS.keys() >= set(variant.trained_tasks)


def make_tasks(weights: Mapping[str, float], options: TaskOptions) -> dict[TrainingTask, float]:
    """Training tasks and their weights; the names are rows of TRAINING_TASKS."""
    return {TRAINING_TASKS[name](options): weight for name, weight in weights.items()}


def task_problems(
    requested: Mapping[str, float],
    variant: Variant,
    clip_branch: bool | None,
    buckets: Sequence[BucketLike],
    options: TaskOptions,
) -> Iterator[tuple[str, str]]:
    """What keeps a run from being trained on its tasks.

    Yields:
        (path below `train_dit`, e.g. `tasks.i2v`; what was got and what is allowed).
    """
    dit, has_branch = dit_to_train(variant, clip_branch), variant.dit.image_dim is not None
    if clip_branch is not None and not has_branch:
        message = (
            f"got {str(clip_branch).lower()}; {variant.name} has no image branch: leave it out"
        )
        yield "conditions.clip_branch", message
    weights = task_weights(requested, variant)
    if names := [name for name in weights if name not in TRAINING_TASKS]:
        for name in names:
            yield f"tasks.{name}", _no_training(name)
        return
    tasks = make_tasks(weights, options)
    for task in tasks:
        if reason := task.refusal(dit):
            able = ", ".join(name for name in TRAINING_TASKS if not get_task(name).refusal(dit))
            instead = f"; it can do {able}" if able and not dit.frame_rates else ""
            message = f"{variant.name} cannot do it: {reason}{instead}"
            yield f"tasks.{task.name}", message
        unused = not any(task.serves(bucket.frames) for bucket in buckets)
        if unused and task.name in requested:
            yield (
                f"tasks.{task.name}",
                "takes the frames of no bucket; add a bucket or leave it out",
            )
    for index, bucket in enumerate(buckets):
        if not any(task.serves(bucket.frames) for task in tasks):
            named = ", ".join(weights)
            message = f"got {bucket.frames}, which none of the tasks takes ({named})"
            yield f"buckets.{index}.frames", message


def _no_training(name: str) -> str:
    """Why a task is not trained, for a name outside TRAINING_TASKS."""
    if name in TASKS:
        return f"is only sampled, not trained; tasks that are trained: {', '.join(TRAINING_TASKS)}"
    return unknown("task", name, TRAINING_TASKS)
