"""Config files of the networks, and the files that make a folder a diffusers pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from wanctl.checkpoint.configs import (
    dit_config,
    dit_shape_from_tensors,
    numbered,
)
from wanctl.checkpoint.diffusers_layout.configs import transformer_class
from wanctl.checkpoint.files.tensor_files import WeightsError, read_config
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.networks import (
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    TRANSFORMER_2,
    VAE,
    StoredNetwork,
)
from wanctl.checkpoint.vae_configs import (
    check_vae_sizes,
    vae_config,
    vae_shape_from_config,
    vae_shape_from_tensors,
)
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import (
    CLIP_PIXEL_MEAN,
    CLIP_PIXEL_STD,
    NUM_TRAIN_TIMESTEPS,
    DiTShape,
    VAEShape,
    Variant,
)

HEAD_DIM = 80  # of CLIP's vision tower; it does not show in the shapes of tensors
SCHEDULER = "UniPCMultistepScheduler"


def text_config(network: StoredNetwork) -> dict[str, Any]:
    """Config of a umT5 encoder for transformers, from the shapes of its tensors.

    Raises:
        WeightsError: a tensor that shows a size is missing.
    """
    shapes = network.shapes
    with _reporting_missing_tensor(network, "a umT5 encoder"):
        vocabulary, width = shapes["token_embedding.weight"]
        buckets, heads = shapes["blocks.0.pos_embedding.embedding.weight"]
        inner = shapes["blocks.0.attn.q.weight"][0]
        hidden = shapes["blocks.0.ffn.fc1.weight"][0]
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": hidden,
        "num_layers": numbered(shapes, "blocks."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }


def image_config(network: StoredNetwork) -> dict[str, Any]:
    """Config of CLIP's vision tower for transformers, from the shapes of its tensors.

    Raises:
        WeightsError: a tensor that shows a size is missing.
    """
    shapes = network.shapes
    with _reporting_missing_tensor(network, "CLIP's vision tower"):
        width, _, patch, _ = shapes["visual.patch_embedding.weight"]
        tokens = shapes["visual.pos_embedding"][-2]
        hidden = shapes["visual.transformer.0.mlp.0.weight"][0]
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": numbered(shapes, "visual.transformer."),
        "num_attention_heads": max(1, width // HEAD_DIM),
        "image_size": patch * int((tokens - 1) ** 0.5),
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def network_config(
    network: StoredNetwork, layout: str, dit: DiTShape | None, vae: VAEShape | None
) -> Any:
    """The config.json of a network in a layout; None where the layout has none."""
    if network.name in (TRANSFORMER, TRANSFORMER_2):
        shape = dit or dit_shape_from_tensors(network.shapes, str(network.files[0]))
        return dit_config(shape, "diffusers" if layout == "diffusers" else "official")
    if layout != "diffusers":
        return None
    if network.name == VAE:
        shape = vae or vae_shape_from_tensors(network.shapes, str(network.files[0]))
        return vae_config(shape, layout)
    return text_config(network) if network.name == TEXT_ENCODER else image_config(network)


def vae_shape(components: Components, networks: Sequence[StoredNetwork]) -> VAEShape | None:
    """Sizes and latent statistics of the VAE; None where there is no VAE."""
    network = next((network for network in networks if network.name == VAE), None)
    if network is None:
        return None
    if components.vae_config:
        where = str(components.vae_config)
        shape = vae_shape_from_config(read_config(components.vae_config), where)
        check_vae_sizes(shape, network.shapes, where)
        return shape
    return vae_shape_from_tensors(network.shapes, str(network.files[0]))


def variants_of(dit: DiTShape, experts: int | None = None) -> list[Variant]:
    """Entries of VARIANTS with a transformer of these sizes, and as many experts if given."""
    return [
        variant
        for variant in VARIANTS.values()
        if variant.dit == dit and experts in (None, variant.experts)
    ]


def pipeline_files(networks: Sequence[StoredNetwork], dit: DiTShape) -> Mapping[str, Any]:
    """Path -> content of the JSON files of a diffusers pipeline besides the networks' configs."""
    names = {network.name for network in networks}
    image = next((network for network in networks if network.name == IMAGE_ENCODER), None)
    variant = _nearest(dit, 2 if TRANSFORMER_2 in names else 1)
    takes_images = dit.in_channels != dit.out_channels
    kind = "WanVACEPipeline" if dit.vace_layers else "WanPipeline"
    if takes_images:
        kind = "WanImageToVideoPipeline"
    if dit.face:
        kind = "WanAnimatePipeline"
    if dit.frame_rates:
        kind = "SkyReelsV2DiffusionForcingPipeline"
    model = transformer_class(dit)
    index: dict[str, Any] = {
        "_class_name": kind,
        "transformer": ["diffusers", model],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "scheduler": ["diffusers", SCHEDULER],
        "transformer_2": ["diffusers", model] if TRANSFORMER_2 in names else [None, None],
        "boundary_ratio": variant.defaults.boundary,
    }
    if image:
        index["image_encoder"] = ["transformers", "CLIPVisionModel"]
        index["image_processor"] = ["transformers", "CLIPImageProcessor"]
    elif takes_images:
        index |= {"image_encoder": [None, None], "image_processor": [None, None]}
    if kind == "WanPipeline":
        index["expand_timesteps"] = "ti2v" in variant.tasks
    scheduler = {
        "_class_name": SCHEDULER,
        "num_train_timesteps": NUM_TRAIN_TIMESTEPS,
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": variant.defaults.shift,
        "solver_order": 2,
        "solver_type": "bh2",
    }
    files: dict[str, Any] = {
        "model_index.json": index,
        "scheduler/scheduler_config.json": scheduler,
    }
    if image:
        side = image_config(image)["image_size"]
        files["image_processor/preprocessor_config.json"] = {
            "image_processor_type": "CLIPImageProcessor",
            "crop_size": {"height": side, "width": side},
            "size": {"shortest_edge": side},
            "image_mean": list(CLIP_PIXEL_MEAN),
            "image_std": list(CLIP_PIXEL_STD),
            "resample": 3,
        }
    return files


def _nearest(dit: DiTShape, experts: int) -> Variant:
    """The published model that is most like a transformer of any size, for its sampling defaults.

    Without a boundary diffusers ignores the second expert, and without expanded timesteps it gives
    wrong timesteps to models trained with them; so a model of other sizes needs both settings too.
    """

    def similarity(variant: Variant) -> tuple[bool, ...]:
        other = variant.dit
        return (
            variant.experts == experts,
            (other.in_channels, other.out_channels) == (dit.in_channels, dit.out_channels),
            bool(other.vace_layers) == bool(dit.vace_layers),
            bool(other.image_dim) == bool(dit.image_dim),
            bool(other.image_tokens) == bool(dit.image_tokens),
            other == dit,
        )

    return max((variant for variant in VARIANTS.values() if variant.hub), key=similarity)


@contextmanager
def _reporting_missing_tensor(network: StoredNetwork, what: str) -> Iterator[None]:
    """Turn a KeyError for a tensor name into a WeightsError that names the file and tensor."""
    try:
        yield
    except KeyError as error:
        raise WeightsError(f"{network.files[0]}: no tensor {error}; not {what}") from None
