"""`wanctl train-vae` of a tiny decoder: unpack the recipe, find the VAE, run the loop."""

from pathlib import Path

from wanctl.checkpoint.files.tensor_files import fingerprint
from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.checkpoint.tiny_decoder import FOLDER
from wanctl.log import log
from wanctl.model.vae.tiny_decoder import shape_for
from wanctl.recipe.load import LoadedRecipe
from wanctl.train.accelerator import Processes
from wanctl.train.inputs.epochs import write_epochs
from wanctl.train.setup import (
    check_buckets,
    clips_fingerprint,
    command_options_of,
    locked_run,
    log_result,
    run_metadata,
    run_training,
    training_clips,
    training_variant,
)
from wanctl.train.vae.distill.objective import DistillObjective, start_tiny_decoder
from wanctl.train.vae.loss_options import vae_loss_options


def distill(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    """Train a tiny decoder on the decodes of the run's VAE and write it to `out/tiny_decoder`.

    Args:
        loaded: the recipe; the VAE is the one that `train-dit` would take.
        out: output folder.
        processes: those of the run.

    Raises:
        UserError: as `train_vae`; no VAE, or one of strides that a tiny decoder cannot have.
    """
    with locked_run(out / FOLDER, processes):
        _distill(loaded, out, processes)


def _distill(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_vae
    model, command_options = recipe.model, command_options_of(loaded, out)
    weights = WeightsResolver(
        out=out,
        variant=training_variant(loaded),
        weights=model.weights,
        vae_weights=model.vae_weights,
        text_weights=model.text_weights,
    )
    found = weights.find_vae(f"wanctl train-vae {command_options} --set train_vae.network=vae")
    assert found.vae is not None
    vae = load_vae(found)
    log.info("train-vae: a tiny decoder learns from the VAE %s, which stays as it is; keys for "
             "parts, latents and chunks of the VAE, and other terms than l1 and perceptual, do not "
             "apply",
             found.vae[0])  # fmt: skip
    buckets = check_buckets(loaded, "train_vae", section, vae, patch=1)
    shape = shape_for(vae.shape, section.tiny_decoder_width)
    clips = training_clips(loaded, out, section, processes, buckets=buckets, windows_per_clip=None)
    objective = DistillObjective(
        start_tiny_decoder(shape, recipe.seed),
        vae,
        clips,
        vae_loss_options(section.loss.model_dump()),
        fps=section.clip_fps,
        metadata=run_metadata(loaded),
    )
    identity = {"tiny decoder": str(shape), "VAE": fingerprint(found.vae)}
    data = clips_fingerprint(clips)
    result = run_training(loaded, section, objective, out / FOLDER, processes, identity, data)
    if processes.is_main and result.trained:
        write_epochs(out / FOLDER, "train-vae", clips, result.step)
    log_result("train-vae", result, out / FOLDER, f"wanctl train-dit {command_options}")
