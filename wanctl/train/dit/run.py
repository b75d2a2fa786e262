"""`wanctl train-dit`: unpack the recipe, encode the clips and captions, run the loop."""

import copy
from collections.abc import Callable
from pathlib import Path

from wanctl.checkpoint.find import Components
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.checkpoint.tiny_decoder import FOLDER as TINY_DECODER
from wanctl.data.buckets import bucket_name
from wanctl.data.dataset import DatasetDir
from wanctl.errors import ProblemsError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.shapes import PATCH
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.recipe.load import LoadedRecipe
from wanctl.train.accelerator import Processes, start_processes
from wanctl.train.adapters.attach import adapter_options
from wanctl.train.adapters.prepare import WHOLE, TrainedPart, prepare_adapter, prepare_weights
from wanctl.train.dit.captions import training_captions
from wanctl.train.dit.data import EncodedData
from wanctl.train.dit.experts.plan import ExpertOptions, route_experts
from wanctl.train.dit.experts.start import check_one_transformer, find_experts, start_experts
from wanctl.train.dit.experts.transformers import Transformers, one_transformer
from wanctl.train.dit.noise.levels import NoiseLevels
from wanctl.train.dit.objective import DiTObjective
from wanctl.train.dit.options import DiTOptions
from wanctl.train.dit.parallel import check_tokens, group_processes, share_tokens
from wanctl.train.dit.settings import (
    dropped_text,
    latent_shapes,
    mixture_options,
    noise_options,
    preview_options,
)
from wanctl.train.dit.start import (
    base_of,
    check_fit,
    check_latent_channels,
    load_frozen_vae,
    load_preview_decoder,
    load_run_text_encoder,
    start_dit,
)
from wanctl.train.dit.tasks.build import make_mixture
from wanctl.train.dit.tasks.choice import dit_to_train
from wanctl.train.dit.vace.options import control_options
from wanctl.train.dit.vace.sheet import write_controls
from wanctl.train.dit.vace.start import CONTEXT_ADAPTER, default_trained
from wanctl.train.inputs.encode import LatentStore, TextStore
from wanctl.train.inputs.epochs import write_epochs
from wanctl.train.memory.apply import save_memory
from wanctl.train.memory.options import MemoryOptions
from wanctl.train.optimizers.patterns import ALL
from wanctl.train.setup import (
    check_buckets,
    clips_fingerprint,
    command_options_of,
    fingerprint,
    locked_run,
    log_result,
    run_metadata,
    run_once,
    run_training,
    training_clips,
    training_variant,
)


def train_dit(loaded: LoadedRecipe, out: Path, prepare: Callable[[], None] | None = None) -> None:
    """Train the transformer on a VAE's latents and the captions; write it to `out/dit`.

    Args:
        loaded: the recipe; sections `train_dit`, `model`, `sample`, `caption`, `dataset` and
            `curate.decode` are used.
        out: output folder.
        prepare: called once, by the first process, before the data set is opened.

    Raises:
        UserError: no data set, captions, VAE or text encoder, no clips that fit, diverged.
        LockedError: another process trains there.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    processes = start_processes(loaded.recipe.device)
    with locked_run(out / "dit", processes):
        run_once(processes, prepare)
        _train_dit(loaded, out, processes)


def _train_dit(loaded: LoadedRecipe, out: Path, processes: Processes) -> None:
    recipe, section = loaded.recipe, loaded.recipe.train_dit
    model, command_options = recipe.model, command_options_of(loaded, out)
    variant = training_variant(loaded)
    mixture = mixture_options(loaded, variant)
    weights = WeightsResolver(
        out=out,
        variant=variant,
        weights=model.weights,
        vae_weights=model.vae_weights,
        text_weights=model.text_weights,
        image_weights=model.image_weights,
    )
    if model.vae_weights:  # a file that cannot serve is told of before the data set is read
        weights.find_vae(f"wanctl train-vae {command_options}")
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    captions = training_captions(
        dataset,
        recipe.dataset.selection,
        backends=recipe.caption.backends,
        weights=section.captions,
        task_weights=section.task_captions,
        score_words=section.caption_scores,
        command_options=command_options,
    )
    vae = load_frozen_vae(weights, command_options)
    check_latent_channels(model.latent_channels, vae)
    decoder = (
        load_preview_decoder(out / TINY_DECODER, vae)
        if section.preview_decoder == "tiny_decoder"
        else vae
    )
    buckets = check_buckets(loaded, "train_dit", section, vae, patch=PATCH[1])
    groups = _groups(loaded, variant, vae, processes)
    noise = noise_options(section, vae, groups.count)
    transformers = _start_transformers(loaded, variant, vae, NoiseLevels(noise))
    dit = transformers.main
    _place(loaded, transformers, groups)
    encoder = load_run_text_encoder(weights, dit.shape.text_len, processes.device)
    check_fit(dit, vae, encoder.dim)
    clips = training_clips(
        loaded,
        out,
        section,
        processes,
        buckets=buckets,
        windows_per_clip=section.windows_per_clip,
        groups=groups.count,
        only=captions.texts,
    )
    preview = preview_options(loaded, variant, clips, captions.texts, mixture)
    cached = section.cache == "disk"
    # previews move their VAE off the device, on another thread than the batches
    own_vae = vae if cached else copy.deepcopy(vae)
    latents = LatentStore(dataset.path / "latents" if cached else None, own_vae, variant.name)
    texts = TextStore(dataset.path / "text" if cached else None, encoder)
    del encoder
    tasks = make_mixture(
        mixture,
        clips,
        own_vae,
        latents.key,
        dit.shape,
        weights.find_image_encoder() if dit.shape.image_dim else None,
        processes.device,
        dataset.path / "conditions" if cached else None,
    )
    run = out / "dit"
    if processes.is_main and any(task.name == "vace" for task in mixture.tasks):
        controls = control_options(section.vace.model_dump())
        write_controls(controls, clips, mixture.fps, recipe.seed, run)
    latents.encode(clips, [*clips.training_windows(), *clips.eval_windows()], processes, run)
    tasks.encode(clips, processes, run)
    dropped = dropped_text(loaded, preview.negative_prompt)
    clip_texts = (text for _, text in captions.pairs())
    prompts = [dropped, preview.negative_prompt, *preview.prompts, *clip_texts]
    texts.encode(prompts, processes, run)
    objective = DiTObjective(
        transformers,
        decoder,
        clips,
        EncodedData(latents.get, texts.get, captions.texts, captions.shares, captions.by_task),
        tasks,
        DiTOptions(
            noise=noise,
            text_dropout=section.text_dropout,
            dropped_text=dropped,
            known_frames_weight=section.conditions.known_frames_weight,
            preview=preview,
            seed=recipe.seed,
            offload_optimizer=section.memory.offload_optimizer,
        ),
        metadata={**run_metadata(loaded), "variant": variant.name},
    )
    identity = {
        "transformer": str(dit.shape),
        "VAE": latents.key,
        "text encoder": texts.key,
        **({"VAE and CLIP": tasks.encoders_key} if dit.shape.image_dim else {}),
        **transformers.identity,
    }
    texts_of = (f"{clip} {text}" for clip, text in captions.pairs())
    data = {**clips_fingerprint(clips), "captions": fingerprint(texts_of)}
    result = run_training(loaded, section, objective, out / "dit", groups, identity, data)
    if processes.is_main and result.trained:
        write_epochs(
            out / "dit",
            "train-dit",
            clips,
            result.step,
            lambda microbatch, frames: tasks.draw(microbatch, frames)[0].name,
        )
    log_result("train-dit", result, out / "dit", f'wanctl sample "PROMPT" {command_options}')


def _groups(loaded: LoadedRecipe, variant: Variant, vae: WanVAE, processes: Processes) -> Processes:
    """The groups of processes that compute each sample together.

    Raises:
        RecipeError: they cannot be made of these processes, or share too few tokens or heads.
    """
    section, heads = loaded.recipe.train_dit, variant.dit.num_heads
    shapes = {
        bucket_name(bucket): (frames, rows // PATCH[1], columns // PATCH[2])
        for bucket, (frames, rows, columns) in latent_shapes(section, vae)
    }
    try:
        groups = group_processes(processes, section.parallel.ulysses, section.parallel.ring, heads)
        check_tokens(groups, shapes)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    return groups


def _place(loaded: LoadedRecipe, transformers: Transformers, groups: Processes) -> None:
    """Set the transformers up for the memory and the processes of the run.

    Raises:
        RecipeError: settings that do not fit what is trained, at their lines.
    """
    section, count = loaded.recipe.train_dit, groups.count * groups.group
    memory = MemoryOptions(**section.memory.model_dump())
    try:
        save_memory(transformers.models, memory, groups.device, processes=count)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    share_tokens(transformers.models, groups, section.parallel.ulysses)


def _start_transformers(
    loaded: LoadedRecipe, variant: Variant, vae: WanVAE, levels: NoiseLevels
) -> Transformers:
    """The transformers to train: one, or the experts that the recipe says.

    Raises:
        RecipeError: the experts cannot share the steps in this way.
        UserError: the weights are not those of the variant.
    """
    recipe, section, model = loaded.recipe, loaded.recipe.train_dit, loaded.recipe.model
    shape = dit_to_train(variant, section.conditions.clip_branch)

    def load(ref: str | Components | None, network: str = "") -> tuple[WanModel, TrainedPart]:
        dit = start_dit(
            shape, ref, model.precision, recipe.seed, strict=model.strict,
            frozen_format=section.adapter.base if section.adapter else None, network=network,
            needs_base=(section.trained or default_trained(shape)) == CONTEXT_ADAPTER,
        )  # fmt: skip
        return dit, _trained_part(loaded, dit, ref, network)

    if variant.defaults.boundary is None:
        check_one_transformer(variant, model.weights)
        return one_transformer(*load(model.weights))
    options = ExpertOptions(
        trained=section.experts,
        boundary=variant.defaults.boundary,
        share=section.expert_share,
        block_steps=section.expert_steps,
        steps=section.steps,
        seed=recipe.seed,
    )
    buckets = [(shape, each.probability) for each, shape in latent_shapes(section, vae)]
    try:
        routing = route_experts(options, levels, buckets)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    found = find_experts(model.weights, model.low_weights)
    return start_experts(
        options, routing, found, load, precision=model.precision, strict=model.strict
    )


def _trained_part(
    loaded: LoadedRecipe, dit: WanModel, ref: str | Components | None, network: str
) -> TrainedPart:
    """Freeze what is not trained, and attach the recipe's adapter.

    Raises:
        RecipeError: patterns that match nothing, ranks that are too large, at their lines.
    """
    section, seed = loaded.recipe.train_dit, loaded.recipe.seed
    trained = section.trained or default_trained(dit.shape)
    if section.adapter is None and ALL in trained:
        return WHOLE
    base = base_of(ref, seed)
    try:
        if section.adapter is None:
            return prepare_weights(dit, base, trained, network)
        keys = section.adapter.model_dump(exclude={"base", "layout"})
        options = adapter_options(**keys, seed=seed)
        return prepare_adapter(dit, base, options, section.adapter.layout, network)
    except ProblemsError as error:
        raise loaded.locate(error) from None
