"""`wanctl train-vae`: unpack the recipe, prepare the data, run the loop."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from wanctl.errors import ProblemsError
from wanctl.log import log
from wanctl.model.shapes import latent_frames
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.recipe.load import LoadedRecipe, load_recipe, shipped_recipes
from wanctl.recipe.model import ModelSection
from wanctl.recipe.train.vae import TrainVAESection
from wanctl.train.accelerator import Processes, start_processes
from wanctl.train.inputs.epochs import write_epochs
from wanctl.train.optimizers.table import check_optimizer
from wanctl.train.setup import (
    check_buckets,
    clips_fingerprint,
    command_options_of,
    locked_run,
    log_result,
    run_metadata,
    run_once,
    run_training,
    training_clips,
    training_variant,
)
from wanctl.train.vae.distill.run import distill
from wanctl.train.vae.loss_options import VAELossOptions, vae_loss_options
from wanctl.train.vae.losses import kl_factor
from wanctl.train.vae.objective import VAEObjective
from wanctl.train.vae.parts import ALL, freeze_others, part_problem
from wanctl.train.vae.start import VAESource, start_vae


def train_vae(loaded: LoadedRecipe, out: Path, prepare: Callable[[], None] | None = None) -> None:
    """Train the VAE and write it to `out/vae`, or a tiny decoder to `out/tiny_decoder`.

    Args:
        loaded: the recipe; sections `train_vae`, `model`, `dataset` and `curate.decode` are used.
        out: output folder.
        prepare: called once, by the first process, before the data set is opened.

    Raises:
        UserError: no data set, no clips that fit, weights that do not fit, diverged.
        LockedError: another process trains there.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    processes = start_processes(loaded.recipe.device)
    if loaded.recipe.train_vae.network == "tiny_decoder":
        run_once(processes, prepare)
        distill(loaded, out, processes)
        return
    with locked_run(out / "vae", processes):
        run_once(processes, prepare)
        _train_vae(loaded, out, processes)


def _train_vae(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_vae
    variant = training_variant(loaded)
    vae, has_statistics = start_vae(variant, _source(recipe.model), recipe.seed)
    trains_latents = _freeze(loaded, vae)
    buckets = check_buckets(loaded, "train_vae", section, vae, patch=1)
    options = _loss_options(section, trains_latents=trains_latents)
    if options.adversarial.weight:
        key = "train_vae.loss.adversarial.optimizer.name"
        check_optimizer(options.adversarial.optimizer.name, key)
    clips = training_clips(loaded, out, section, processes, buckets=buckets, windows_per_clip=None)
    _log_kl(section, options, vae)
    measures = section.latent_statistics == "measure"
    if has_statistics and measures and not trains_latents:
        log.info("train-vae: the encoder is frozen, so the statistics of its latents are kept")
    objective = VAEObjective(
        vae,
        clips,
        options,
        fps=section.clip_fps,
        metadata=run_metadata(loaded),
        keep_statistics=has_statistics and not (trains_latents and measures),
        chunk_frames=section.chunk_frames,
        seed=recipe.seed,
    )
    sizes = asdict(vae.shape)
    identity = {"VAE width": sizes["dim"], "latent channels": sizes["z_dim"]}
    if ALL not in section.trained:  # checkpoints of older versions have no such entry
        identity["trained parts"] = ", ".join(section.trained)
    data = clips_fingerprint(clips)
    result = run_training(loaded, section, objective, out / "vae", processes, identity, data)
    if processes.is_main and result.trained:
        write_epochs(out / "vae", "train-vae", clips, result.step)
    log_result("train-vae", result, out / "vae", next_command(loaded, out))


def next_command(loaded: LoadedRecipe, out: Path) -> str:
    """The next stage of the VAE where a shipped recipe starts from this one; else the transformer.

    The folders in those recipes are those of runs without `--out`.
    """
    shipped = shipped_recipes()
    if out == Path("runs") / loaded.name and loaded.name in shipped:
        for name in shipped:
            if load_recipe(name).recipe.model.vae_weights == str(out / "vae"):
                return f"wanctl train-vae --recipe {name}"
    return f"wanctl train-dit {command_options_of(loaded, out)}"


def _source(model: ModelSection) -> VAESource:
    """The weights and sizes that the recipe names; `vae_weights` has to hold a VAE."""
    return VAESource(
        model.vae_weights or model.weights,
        must_hold_vae=model.vae_weights is not None,
        width=model.vae_width,
        latent_channels=model.latent_channels,
    )


def _freeze(loaded: LoadedRecipe, vae: WanVAE) -> bool:
    """Freeze what the recipe does not train; returns whether the latents change.

    Raises:
        RecipeError: every name that is no part of the VAE, at its line.
    """
    trained = loaded.recipe.train_vae.trained
    problems = [
        (f"train_vae.trained.{index}", message)
        for index, name in enumerate(trained)
        if (message := part_problem(vae, name))
    ]
    if problems:
        raise loaded.locate(ProblemsError(problems))
    parts = freeze_others(vae, trained)
    if parts.trained < parts.total:
        log.info("train-vae: trains %s: %.2f of %.2f M weights; the others keep their bits",
                 ", ".join(trained), parts.trained / 1e6, parts.total / 1e6)  # fmt: skip
    return parts.moves_latents


def _loss_options(section: TrainVAESection, *, trains_latents: bool) -> VAELossOptions:
    """The terms of the loss, without KL where the encoder is frozen: it would be a constant."""
    options = vae_loss_options(section.loss.model_dump())
    if trains_latents or not options.kl.weight:
        return options
    log.info("train-vae: the encoder is frozen, so KL is constant and left out of the loss")
    return replace(options, kl=replace(options.kl, weight=0.0))


def _log_kl(section: TrainVAESection, options: VAELossOptions, vae: WanVAE) -> None:
    """Say what the weight of KL means at the largest shape that is trained."""
    if not options.kl.weight:
        return
    frames, height, width = max(
        ((b.frames, b.height, b.width) for b in section.buckets), key=math.prod
    )
    stride = vae.spatial_stride
    latents = (latent_frames(frames, vae.temporal_stride), height // stride, width // stride)
    shape = (vae.shape.z_dim, *latents)
    log.info("train-vae: KL is reduced by %s; of the same latents at %dx%dx%d `position` gives %d "
             "and `sample` %d times the `mean`", options.kl.reduction, frames, height, width,
             kl_factor("position", shape), kl_factor("sample", shape))  # fmt: skip
