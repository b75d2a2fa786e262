"""`wanctl train-vae` and `wanctl train-dit`: the recipe unpacked, the data found, the loop run."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.device import pick_device
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.variants import Variant, get_variant
from wanctl.recipe.load import LoadedRecipe, shipped_recipes
from wanctl.recipe.schema import TrainSection
from wanctl.tasks.table import get_task
from wanctl.train.inputs.clipset import ClipSet
from wanctl.train.inputs.collect import ClipsError, TrainingDataOptions, collect_clips
from wanctl.train.inputs.encode import LatentStore, TextStore
from wanctl.train.loop import LoopOptions, TrainingResult, train
from wanctl.train.objectives.dit import (
    DiTObjective,
    DiTOptions,
    EncodedData,
    NoiseLaw,
    PreviewOptions,
)
from wanctl.train.objectives.vae import VAELossWeights, VAEObjective
from wanctl.train.optim import OptimizerOptions
from wanctl.train.start import check_fit, find_text_encoder, find_vae, start_dit, start_vae
from wanctl.video.worker_pool import DecodePool

# Videos share the text-to-video conditions; an image bucket is a video of one frame.
TASK = "t2v"
PREVIEW_PROMPTS = 4


def train_vae(loaded: LoadedRecipe, out: Path) -> None:
    """Train the VAE; the result lies in `out/vae`.

    Args:
        loaded: the recipe; sections `train_vae`, `model`, `dataset` and `curate.decode` count.
        out: output folder.

    Raises:
        UserError: no data set, no clips that fit, weights that do not fit, diverged.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    recipe, section = loaded.recipe, loaded.recipe.train_vae
    variant, device = get_variant(recipe.model.variant), pick_device(recipe.device)
    clips = _clips(loaded, out, section, windows_per_clip=None)
    ref = recipe.model.vae_weights or recipe.model.weights
    vae, given = start_vae(variant, ref, recipe.seed)
    objective = VAEObjective(
        vae,
        clips,
        VAELossWeights(**section.loss.model_dump()),
        fps=section.clip_fps,
        metadata=_metadata(loaded),
        keep_statistics=given,
    )
    sizes = asdict(vae.shape)
    identity = {"VAE width": sizes["dim"], "latent channels": sizes["z_dim"]}
    folder = out / "vae"
    _write_recipe(loaded, folder)
    outcome = train(objective, folder, _options(loaded, section), device=device, identity=identity)
    _log_result("train-vae", outcome, folder, f"wanctl train-dit {_command_options(loaded, out)}")


def train_dit(loaded: LoadedRecipe, out: Path) -> None:
    """Train the transformer on a VAE's latents and the captions; the result lies in `out/dit`.

    Args:
        loaded: the recipe; sections `train_dit`, `model`, `sample`, `caption`, `dataset` and
            `curate.decode` count.
        out: output folder.

    Raises:
        UserError: no data set, captions, VAE or text encoder, no clips that fit, diverged.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    recipe, section = loaded.recipe, loaded.recipe.train_dit
    model, command_options = recipe.model, _command_options(loaded, out)
    variant, device = get_variant(model.variant), pick_device(recipe.device)
    if reason := get_task(TASK).refusal(variant.dit):
        raise UserError(f"model.variant: {variant.name} is not trained here: {reason}")
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    captions = _captions(loaded, dataset, command_options)
    vae = find_vae(out, (model.vae_weights, model.weights), command_options)
    dit = start_dit(variant, model.weights, model.precision, recipe.seed)
    encoder = find_text_encoder(
        variant, (model.text_weights, model.weights), dit.shape.text_len, device
    )
    check_fit(dit, vae, encoder.dim)
    clips = _clips(loaded, out, section, windows_per_clip=section.windows_per_clip, only=captions)
    preview = _preview(loaded, variant, clips, captions)
    latents = LatentStore(dataset.path / "latents", vae, variant.name)
    texts = TextStore(dataset.path / "text", encoder)
    del encoder
    latents.encode(clips, [*clips.training_windows(), *clips.eval_windows()], device)
    spoken = [text for variants in captions.values() for text in variants]
    texts.encode(["", preview.negative_prompt, *preview.prompts, *spoken])
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
    folder = out / "dit"
    _write_recipe(loaded, folder)
    outcome = train(objective, folder, _options(loaded, section), device=device, identity=identity)
    _log_result("train-dit", outcome, folder, f'wanctl sample "PROMPT" {command_options}')


def _clips(
    loaded: LoadedRecipe,
    out: Path,
    section: TrainSection,
    *,
    windows_per_clip: int | None,
    only: Mapping[str, object] | None = None,
) -> ClipSet:
    recipe, decode = loaded.recipe, loaded.recipe.curate.decode
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    wanted = TrainingDataOptions(
        selection=recipe.dataset.selection,
        buckets=section.buckets,
        fps=section.clip_fps,
        holdout=section.holdout,
        seed=recipe.seed,
        windows_per_clip=windows_per_clip,
    )
    memory_bytes = int(decode.memory_gb * 2**30)
    with DecodePool(decode.workers, decode.timeout_s, memory_bytes) as pool:
        return collect_clips(
            dataset, wanted, pool=pool, command_options=_command_options(loaded, out), only=only
        )


def _captions(
    loaded: LoadedRecipe, dataset: DatasetDir, command_options: str
) -> dict[str, list[str]]:
    """Captions of the kept clips; says how many have none."""
    recipe = loaded.recipe
    table = f"selections/{recipe.dataset.selection}"
    kept = [row["id"] for row in dataset.read(table).to_pylist() if row["kept"]]
    words = read_captions(dataset, recipe.caption.backends, kept)
    captions = {clip: [each.text for each in found] for clip, found in words.items()}
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


def _options(loaded: LoadedRecipe, section: TrainSection) -> LoopOptions:
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


def _write_recipe(loaded: LoadedRecipe, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(loaded.dump(), encoding="utf-8")


def _command_options(loaded: LoadedRecipe, out: Path) -> str:
    """Options that make another command work on this run."""
    shipped = shipped_recipes().get(loaded.name) == loaded.path
    recipe = loaded.name if shipped else shlex.quote(str(loaded.path))
    at = "" if out == loaded.out_dir(None) else f" --out {shlex.quote(str(out))}"
    return f"--recipe {recipe}{at}"


def _log_result(name: str, outcome: TrainingResult, folder: Path, following: str) -> None:
    """What came of it, where to look, what to do next."""
    if outcome.loss is not None and outcome.steps_per_s is not None:
        figures = {k: v for k, v in (outcome.figures or {}).items() if "sigma" not in k}
        text = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
        log.info("%s: step %d done at %.2f steps/s, loss %.4f, last evaluation: %s",
                 name, outcome.step, outcome.steps_per_s, outcome.loss, text)  # fmt: skip
    log.info("%s: look at %s; next: %s",
             name, folder / "previews" / f"step-{outcome.step:06d}.png", following)  # fmt: skip
