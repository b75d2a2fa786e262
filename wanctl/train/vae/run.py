"""`wanctl train-vae`: unpack the recipe, prepare the data, run the loop."""

from dataclasses import asdict
from pathlib import Path

from wanctl.model.variants import get_variant
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.model import ModelSection
from wanctl.train.accelerator import Processes, start_processes
from wanctl.train.setup import (
    check_buckets,
    command_options_of,
    locked_run,
    log_result,
    run_metadata,
    run_training,
    training_clips,
)
from wanctl.train.vae.loss_options import vae_loss_options
from wanctl.train.vae.objective import VAEObjective
from wanctl.train.vae.start import VAESource, start_vae


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
    with locked_run(out / "vae", processes):
        _train_vae(loaded, out, processes)


def _train_vae(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_vae
    variant = get_variant(recipe.model.variant, **recipe.model.vae_sizes)
    vae, has_statistics = start_vae(variant, _source(recipe.model), recipe.seed)
    check_buckets(loaded, "train_vae", section, vae, patch=1)
    clips = training_clips(loaded, out, section, processes, windows_per_clip=None)
    objective = VAEObjective(
        vae,
        clips,
        vae_loss_options(section.loss.model_dump()),
        fps=section.clip_fps,
        metadata=run_metadata(loaded),
        keep_statistics=has_statistics,
    )
    sizes = asdict(vae.shape)
    identity = {"VAE width": sizes["dim"], "latent channels": sizes["z_dim"]}
    result = run_training(loaded, section, objective, out / "vae", processes, identity)
    log_result(
        "train-vae", result, out / "vae", f"wanctl train-dit {command_options_of(loaded, out)}"
    )


def _source(model: ModelSection) -> VAESource:
    """The weights and sizes that the recipe names; `vae_weights` has to hold a VAE."""
    return VAESource(
        model.vae_weights or model.weights,
        must_hold_vae=model.vae_weights is not None,
        width=model.vae_width,
        latent_channels=model.latent_channels,
    )
