"""What the run modules of `train-vae` and `train-dit` share: clips, loop options, log lines."""

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.checkpoint.recognition.model_choice import ModelKeys, choose_model
from wanctl.data.buckets import TrainingBucket, bucket_problems, with_batch_sizes
from wanctl.data.dataset import DatasetDir
from wanctl.errors import ProblemsError
from wanctl.lock import locked
from wanctl.log import log
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.recipe.load import LoadedRecipe, shipped_recipes
from wanctl.recipe.train.section import TrainSection
from wanctl.train.accelerator import Processes
from wanctl.train.evaluation.page import NAME as PREVIEWS_PAGE
from wanctl.train.inputs.clipset import ClipSet
from wanctl.train.inputs.collect import TrainingDataOptions, collect_clips
from wanctl.train.loop import train
from wanctl.train.objective import Objective
from wanctl.train.optimizers.options import read_optimizer_options
from wanctl.train.optimizers.table import check_optimizer
from wanctl.train.options import LoopOptions, TrainingResult
from wanctl.video.workers.worker_pool import DecodePool

# Keys of a section that may change when a run continues: they change no step that is still to come.
FREE_KEYS = {
    "steps", "accumulate", "ema_device", "log_every", "eval_every", "preview_every",
    "checkpoint_every", "keep_checkpoints", "memory", "trackers", "preview_prompts",
    "preview_steps", "cache",
}  # fmt: skip


def locked_run(folder: Path, processes: Processes) -> AbstractContextManager[None]:
    """Lock the folder of a training run; the first process does it for all."""
    return locked(folder) if processes.is_main else nullcontext()


def run_once(processes: Processes, prepare: Callable[[], None] | None) -> None:
    """Let the first process do what comes before training, e.g. an import; the others wait."""
    if prepare is not None:
        if processes.is_main:
            prepare()
        processes.wait()


def training_variant(loaded: LoadedRecipe) -> Variant:
    """The variant of the recipe or of its weights, with the run rule for previews.

    Raises:
        RecipeError: a name is not known, the weights are not run, or their licence is not accepted.
    """
    try:
        choice = choose_model(ModelKeys(**loaded.recipe.model.choice), download=True)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    choice.report()
    return choice.variant


def check_buckets(
    loaded: LoadedRecipe, name: str, section: TrainSection, vae: WanVAE, *, patch: int
) -> list[TrainingBucket]:
    """The section's buckets with batch sizes, before a clip is exported or encoded.

    Raises:
        RecipeError: every such size, at its line.
    """
    problems = bucket_problems(
        section.buckets,
        temporal_stride=vae.temporal_stride,
        spatial_multiple=vae.spatial_stride * patch,
    )
    located = [(f"{name}.buckets.{path}", message) for path, message in problems]
    if located:
        raise loaded.locate(ProblemsError(located))
    return with_batch_sizes(
        section.buckets,
        section.tokens_per_batch,
        temporal_stride=vae.temporal_stride,
        spatial_multiple=vae.spatial_stride * patch,
    )


def training_clips(
    loaded: LoadedRecipe,
    out: Path,
    section: TrainSection,
    processes: Processes,
    *,
    buckets: Sequence[TrainingBucket],
    windows_per_clip: int | None,
    groups: int | None = None,
    only: Mapping[str, object] | None = None,
) -> ClipSet:
    """The clips of the data set that serve the section's buckets, exported where they are not yet.

    Args:
        loaded: the recipe.
        out: run folder; holds the data set unless the recipe names one.
        section: `train_vae` or `train_dit`.
        processes: those of the run; each exports its share.
        buckets: training shapes, from `check_buckets`.
        windows_per_clip: see `TrainingDataOptions`.
        groups: of processes that have a batch of their own; None: each process has one.
        only: ids of the clips that may be used; None: all kept ones.

    Raises:
        UserError: no data set, no clip serves a bucket, or the optimizer is not installed.
    """
    check_optimizer(section.optimizer.name)
    recipe, decode = loaded.recipe, loaded.recipe.curate.decode
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    options = TrainingDataOptions(
        selection=recipe.dataset.selection,
        buckets=buckets,
        fps=section.clip_fps,
        weights=section.weights,
        holdout=section.holdout,
        holdout_by=section.holdout_by,
        seed=recipe.seed,
        accumulate=section.accumulate,
        windows_per_clip=windows_per_clip,
        groups=groups,
    )
    memory_bytes = int(decode.memory_gb * 2**30)
    # the processes of one machine export at the same time
    workers = max(1, decode.workers // processes.local_count)
    with DecodePool(workers, decode.timeout_s, memory_bytes) as pool:
        return collect_clips(
            dataset,
            options,
            pool=pool,
            processes=processes,
            command_options=command_options_of(loaded, out),
            only=only,
        )


def run_training(
    loaded: LoadedRecipe,
    section: TrainSection,
    objective: Objective[Any],
    folder: Path,
    processes: Processes,
    identity: Mapping[str, Any],
    data: Mapping[str, str],
) -> TrainingResult:
    """Save the recipe beside the run and train; arguments and errors are those of `train`.

    Args:
        loaded: the recipe.
        section: `train_vae` or `train_dit`.
        objective: of the command.
        folder: of the run.
        processes: those of the run, or their groups; only the first process warns of settings
            that have changed.
        identity: see `train`.
        data: fingerprints of what is trained on, by what it is.
    """
    settings: dict[str, Any] = {}
    if processes.is_main:
        write_bytes(folder / "recipe.yaml", loaded.dump().encode())
        settings = {
            "seed": loaded.recipe.seed,
            "micro-batches per step": section.accumulate * processes.count,
            # with one bucket, other numbers of both with the same product change no batch
            **({"processes": processes.count} if len(section.buckets) > 1 else {}),
            **data,
            objective.name.replace("-", "_"): section.model_dump(mode="json", exclude=FREE_KEYS),
        }
    return train(
        objective,
        folder,
        _loop_options(loaded, section),
        device=processes.device,
        group=processes.group,
        identity=identity,
        settings=settings,
    )


def clips_fingerprint(clips: ClipSet) -> dict[str, str]:
    """Numbers of clips with a hash of their pixels' sources, for `run_training`."""
    kinds = {"training clips": clips.training, "held-out clips": clips.evaluation}
    return {
        kind: fingerprint(f"{clip.id} {clip.pixels}" for clip in several)
        for kind, several in kinds.items()
    }


def fingerprint(items: Iterable[str]) -> str:
    """The number of items and a hash of them, whatever their order."""
    ordered = sorted(items)
    digest = hashlib.sha256("\0".join(ordered).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{len(ordered)} ({digest[:8]})"


def _loop_options(loaded: LoadedRecipe, section: TrainSection) -> LoopOptions:
    same = (
        "steps", "accumulate", "mixed_precision", "ema_decay", "ema_device", "log_every",
        "eval_every", "preview_every", "checkpoint_every", "keep_checkpoints", "trackers",
    )  # fmt: skip
    return LoopOptions(
        seed=loaded.recipe.seed,
        optimizer=read_optimizer_options(section.optimizer.model_dump()),
        **{name: getattr(section, name) for name in same},
    )


def run_metadata(loaded: LoadedRecipe) -> dict[str, str]:
    """Strings that go into the header of the trained weights."""
    return {"recipe": loaded.dump(), "wanctl": version("wanctl")}


def command_options_of(loaded: LoadedRecipe, out: Path) -> str:
    """Command-line options with which another command works on this run."""
    shipped = shipped_recipes().get(loaded.name) == loaded.path
    recipe = loaded.name if shipped else shlex.quote(str(loaded.path))
    at = "" if out == Path("runs") / loaded.name else f" --out {shlex.quote(str(out))}"
    return f"--recipe {recipe}{at}"


def log_result(name: str, result: TrainingResult, folder: Path, next_command: str) -> None:
    """Log the figures of a run, where its previews are, and the command that comes next."""
    if result.loss is not None and result.steps_per_s is not None:
        figures = {k: v for k, v in (result.figures or {}).items() if "sigma" not in k}
        text = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
        log.info("%s: step %d done at %.2f steps/s, loss %.4f, last evaluation: %s",
                 name, result.step, result.steps_per_s, result.loss, text)  # fmt: skip
    log.info("%s: look at %s; next: %s", name, folder / PREVIEWS_PAGE, next_command)
