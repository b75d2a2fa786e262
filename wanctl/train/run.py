"""`wanctl train-vae` and `wanctl train-dit`: unpack the recipe, prepare the data, run the loop."""

import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.data.buckets import bucket_problems
from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_ids
from wanctl.errors import ProblemsError, UserError
from wanctl.lock import locked
from wanctl.log import log
from wanctl.model.shapes import PATCH
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant, get_variant
from wanctl.recipe.load import LoadedRecipe, shipped_recipes
from wanctl.recipe.training import TrainSection
from wanctl.tasks.table import get_task
from wanctl.train.accelerator import Processes, start_processes
from wanctl.train.inputs.clipset import ClipSet
from wanctl.train.inputs.collect import ClipsError, TrainingDataOptions, collect_clips
from wanctl.train.inputs.encode import LatentStore, TextStore
from wanctl.train.loop import LoopOptions, TrainingResult, train
from wanctl.train.objectives.base import Objective
from wanctl.train.objectives.dit import (
    DiTObjective,
    DiTOptions,
    EncodedData,
    NoiseLaw,
    PreviewOptions,
)
from wanctl.train.objectives.vae import VAELossWeights, VAEObjective
from wanctl.train.optim import OptimizerOptions
from wanctl.train.start import (
    check_fit,
    load_frozen_vae,
    load_run_text_encoder,
    start_dit,
    start_vae,
)
from wanctl.video.workers.worker_pool import DecodePool

# All buckets use the text-to-video conditions; an image bucket is a video of one frame.
TASK = "t2v"
PREVIEW_PROMPTS = 4


def train_vae(loaded: LoadedRecipe, out: Path) -> None:
    """Train the VAE and write it to `out/vae`.

    Args:
        loaded: the recipe; sections `train_vae`, `model`, `dataset` and `curate.decode` are used.
        out: output folder.

    Raises:
        UserError: no data set, no clips that fit, weights that do not fit, diverged.
        LockedError: another process trains there.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    processes = start_processes(loaded.recipe.device)
    with _locked(out / "vae", processes):
        _train_vae(loaded, out, processes)


def _train_vae(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_vae
    variant = get_variant(recipe.model.variant)
    ref = recipe.model.vae_weights or recipe.model.weights
    vae, has_statistics = start_vae(variant, ref, recipe.seed)
    _check_buckets(loaded, "train_vae", section, vae, patch=1)
    clips = _clips(loaded, out, section, processes, windows_per_clip=None)
    objective = VAEObjective(
        vae,
        clips,
        VAELossWeights(**section.loss.model_dump()),
        fps=section.clip_fps,
        metadata=_metadata(loaded),
        keep_statistics=has_statistics,
    )
    sizes = asdict(vae.shape)
    identity = {"VAE width": sizes["dim"], "latent channels": sizes["z_dim"]}
    result = _train(loaded, section, objective, out / "vae", processes, identity)
    _log_result(
        "train-vae", result, out / "vae", f"wanctl train-dit {_command_options(loaded, out)}"
    )


def train_dit(loaded: LoadedRecipe, out: Path) -> None:
    """Train the transformer on a VAE's latents and the captions; write it to `out/dit`.

    Args:
        loaded: the recipe; sections `train_dit`, `model`, `sample`, `caption`, `dataset` and
            `curate.decode` are used.
        out: output folder.

    Raises:
        UserError: no data set, captions, VAE or text encoder, no clips that fit, diverged.
        LockedError: another process trains there.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    processes = start_processes(loaded.recipe.device)
    with _locked(out / "dit", processes):
        _train_dit(loaded, out, processes)


def _train_dit(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_dit
    model, command_options = recipe.model, _command_options(loaded, out)
    variant = get_variant(model.variant)
    if reason := get_task(TASK).refusal(variant.dit):
        raise UserError(f"model.variant: {variant.name} is not trained here: {reason}")
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    captions = _captions(loaded, dataset, command_options)
    weights = WeightsResolver(
        out=out,
        variant=variant,
        weights=model.weights,
        vae_weights=model.vae_weights,
        text_weights=model.text_weights,
    )
    vae = load_frozen_vae(weights, command_options)
    dit = start_dit(variant, model.weights, model.precision, recipe.seed, strict=model.strict)
    _check_buckets(loaded, "train_dit", section, vae, patch=PATCH[1])
    encoder = load_run_text_encoder(weights, dit.shape.text_len, processes.device)
    check_fit(dit, vae, encoder.dim)
    per_clip = section.windows_per_clip
    clips = _clips(loaded, out, section, processes, windows_per_clip=per_clip, only=captions)
    preview = _preview(loaded, variant, clips, captions)
    latents = LatentStore(dataset.path / "latents", vae, variant.name)
    texts = TextStore(dataset.path / "text", encoder)
    del encoder
    latents.encode(clips, [*clips.training_windows(), *clips.eval_windows()], processes)
    clip_texts = [text for variants in captions.values() for text in variants]
    texts.encode(["", preview.negative_prompt, *preview.prompts, *clip_texts], processes)
    objective = DiTObjective(
        dit,
        vae,
        clips,
        EncodedData(latents.get, texts.get, captions),
        get_task(TASK),
        DiTOptions(
            noise=NoiseLaw(**section.timesteps.model_dump()),
            text_dropout=section.text_dropout,
            preview=preview,
            seed=recipe.seed,
        ),
        metadata=_metadata(loaded),
    )
    identity = {
        "transformer": str(dit.shape),
        "VAE": latents.key,
        "text encoder": texts.key,
    }
    result = _train(loaded, section, objective, out / "dit", processes, identity)
    _log_result("train-dit", result, out / "dit", f'wanctl sample "PROMPT" {command_options}')


def _locked(folder: Path, processes: Processes) -> AbstractContextManager[None]:
    """Lock the folder of a training run; the first process does it for all."""
    return locked(folder) if processes.is_main else nullcontext()


def _check_buckets(
    loaded: LoadedRecipe, name: str, section: TrainSection, vae: WanVAE, *, patch: int
) -> None:
    """Refuse shapes that the networks cannot take, before a clip is exported or encoded.

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


def _clips(
    loaded: LoadedRecipe,
    out: Path,
    section: TrainSection,
    processes: Processes,
    *,
    windows_per_clip: int | None,
    only: Mapping[str, object] | None = None,
) -> ClipSet:
    recipe, decode = loaded.recipe, loaded.recipe.curate.decode
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    options = TrainingDataOptions(
        selection=recipe.dataset.selection,
        buckets=section.buckets,
        fps=section.clip_fps,
        holdout=section.holdout,
        seed=recipe.seed,
        windows_per_clip=windows_per_clip,
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
            command_options=_command_options(loaded, out),
            only=only,
        )


def _captions(
    loaded: LoadedRecipe, dataset: DatasetDir, command_options: str
) -> dict[str, list[str]]:
    """Captions of the kept clips; logs how many have none."""
    recipe = loaded.recipe
    kept = kept_ids(dataset, recipe.dataset.selection)
    by_clip = read_captions(dataset, recipe.caption.backends, kept)
    captions = {clip: [caption.text for caption in several] for clip, several in by_clip.items()}
    if kept and not captions:
        raise ClipsError(
            f"{dataset.path}: none of {len(kept)} clips has a caption; run "
            f"`wanctl caption {command_options}`"
        )
    if len(captions) < len(kept):
        log.warning("train-dit: %d of %d clips have no caption and are left out",
                    len(kept) - len(captions), len(kept))  # fmt: skip
    return captions


def _preview(
    loaded: LoadedRecipe, variant: Variant, clips: ClipSet, captions: Mapping[str, list[str]]
) -> PreviewOptions:
    """The recipe's preview prompts, or captions of measured clips; sampled as `sample` would."""
    section, sample = loaded.recipe.train_dit, loaded.recipe.sample
    shape = max(window.shape for window in clips.eval_windows())
    own = dict.fromkeys(captions[window.clip][0] for window in clips.eval_windows())
    negative = sample.negative_prompt
    defaults = variant.defaults
    guide_scale = defaults.guide_scale if sample.guide_scale is None else sample.guide_scale
    if isinstance(guide_scale, tuple):  # of two experts; one of them is trained
        guide_scale = guide_scale[0]
    return PreviewOptions(
        prompts=section.preview_prompts or tuple(own)[:PREVIEW_PROMPTS],
        negative_prompt=defaults.negative_prompt if negative is None else negative,
        latent_shape=get_task(TASK).latent_shape(variant.vae, *shape),
        steps=section.preview_steps,
        shift=sample.shift or defaults.shift,
        guide_scale=guide_scale,
        solver=sample.solver or defaults.solver,
        fps=section.clip_fps,
    )


def _train(
    loaded: LoadedRecipe,
    section: TrainSection,
    objective: Objective[Any],
    folder: Path,
    processes: Processes,
    identity: Mapping[str, Any],
) -> TrainingResult:
    if processes.is_main:
        write_bytes(folder / "recipe.yaml", loaded.dump().encode())
    options = _loop_options(loaded, section)
    return train(objective, folder, options, device=processes.device, identity=identity)


def _loop_options(loaded: LoadedRecipe, section: TrainSection) -> LoopOptions:
    same = (
        "steps", "accumulate", "mixed_precision", "ema_decay", "log_every", "eval_every",
        "preview_every", "checkpoint_every", "keep_checkpoints", "trackers",
    )  # fmt: skip
    return LoopOptions(
        seed=loaded.recipe.seed,
        optimizer=OptimizerOptions(**section.optimizer.model_dump()),
        **{name: getattr(section, name) for name in same},
    )


def _metadata(loaded: LoadedRecipe) -> dict[str, str]:
    return {"recipe": loaded.dump(), "wanctl": version("wanctl")}


def _command_options(loaded: LoadedRecipe, out: Path) -> str:
    """Command-line options with which another command works on this run."""
    shipped = shipped_recipes().get(loaded.name) == loaded.path
    recipe = loaded.name if shipped else shlex.quote(str(loaded.path))
    at = "" if out == Path("runs") / loaded.name else f" --out {shlex.quote(str(out))}"
    return f"--recipe {recipe}{at}"


def _log_result(name: str, result: TrainingResult, folder: Path, next_command: str) -> None:
    """Log the figures of a run, where its previews are, and the command that comes next."""
    if result.loss is not None and result.steps_per_s is not None:
        figures = {k: v for k, v in (result.figures or {}).items() if "sigma" not in k}
        text = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
        log.info("%s: step %d done at %.2f steps/s, loss %.4f, last evaluation: %s",
                 name, result.step, result.steps_per_s, result.loss, text)  # fmt: skip
    log.info("%s: look at %s; next: %s",
             name, folder / "previews" / f"step-{result.step:06d}.png", next_command)  # fmt: skip
