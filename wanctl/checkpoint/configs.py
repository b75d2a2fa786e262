"""Convert between the sizes of a transformer and its config.json, official or diffusers spelling.

Sizes of files without a config are derived from the shapes of their tensors.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from wanctl.checkpoint.diffusers_layout.configs import transformer_config
from wanctl.checkpoint.files.config_values import ConfigValues, compare_sizes
from wanctl.checkpoint.files.errors import WeightsError
from wanctl.model.fun_variants import CAMERA_CHANNELS
from wanctl.model.shapes import PATCH, SPATIAL_STRIDE
from wanctl.model.variants import DiTShape, FaceShape, SpeechShape

Shapes = Mapping[str, tuple[int, ...]]

# Head width of every published model; it does not show in the shapes of tensors.
PUBLISHED_HEAD_DIM = 128
# Header key under which a single file states its sizes, in the official spelling.
CONFIG_KEY = "wanctl.config"
NESTED = "blocks.0.block."  # of Animate 2
SPEECH_BLOCKS = "audio_inject_layers"
KINDS = ("t2v", "i2v", "flf2v", "ti2v", "vace", "s2v")
LINEAR_BRANCH = "self_attn.attn_op.local_attn.proj_l"  # of sparse-linear attention
TI2V_CHANNELS = 48


def dit_shape_from_config(config: Mapping[str, Any], where: str) -> DiTShape:
    """Sizes of a transformer from a config of either spelling.

    Raises:
        WeightsError: a key is missing, or this kind of network is not supported.
    """
    kind, patch = config.get("model_type", "t2v"), config.get("patch_size", PATCH)
    if kind not in KINDS or not isinstance(patch, list | tuple) or tuple(patch) != PATCH:
        raise WeightsError(
            f"{where}: a {kind} model with patch {patch}; supported are {', '.join(KINDS)} with "
            f"patch {PATCH}"
        )
    values = ConfigValues(config, where)
    try:
        official = "num_attention_heads" not in config
        shape = _from_official(values) if official else _from_diffusers(values)
    except KeyError as error:
        raise WeightsError(f"{where}: no key {error} that says how large the model is") from None
    if shape.dim % shape.num_heads or shape.dim // shape.num_heads % 2:
        raise WeightsError(
            f"{where}: {shape.num_heads} heads do not divide width {shape.dim} into even parts"
        )
    if shape.vace_layers and max(shape.vace_layers) >= shape.num_layers:
        raise WeightsError(
            f"{where}: vace_layers {max(shape.vace_layers)} of a model with {shape.num_layers} "
            "layers"
        )
    return shape


def check_dit_sizes(shape: DiTShape, tensors: Shapes, where: str) -> None:
    """Compare a config's sizes with the tensors, before anything is built by it.

    Raises:
        WeightsError: names the first size that differs.
    """
    patch, ffn = tensors.get("patch_embedding.weight", ()), _of_block(tensors, "ffn.0.weight") or ()
    text, head = tensors.get("text_embedding.0.weight", ()), tensors.get("head.head.weight", ())
    time = tensors.get("time_embedding.0.weight", ())
    volume = PATCH[0] * PATCH[1] * PATCH[2]
    stored = {
        "num_layers": numbered(tensors, "blocks."),
        **({"dim": patch[0], "in_dim": patch[1]} if len(patch) > 1 else {}),
        **({"ffn_dim": ffn[0]} if ffn else {}),
        **({"out_dim": head[0] // volume} if head else {}),
        **({"text_dim": text[1]} if len(text) > 1 else {}),
        **({"freq_dim": time[1]} if len(time) > 1 else {}),
    }
    stated = {
        "num_layers": shape.num_layers, "dim": shape.dim, "in_dim": shape.in_channels,
        "ffn_dim": shape.ffn_dim, "out_dim": shape.out_channels, "text_dim": shape.text_dim,
        "freq_dim": shape.freq_dim,
    }  # fmt: skip
    if shape.vace_layers:
        stored["vace_layers"] = numbered(tensors, "vace_blocks.")
        stated["vace_layers"] = len(shape.vace_layers)
    compare_sizes(stated, stored, where)


def _from_official(values: ConfigValues) -> DiTShape:
    # this spelling does not state a CLIP branch: 2.1's i2v has one, 2.2's has none; it shows in
    # the tensors (`with_parts`)
    blocks = values.wholes(SPEECH_BLOCKS, least=0)
    return DiTShape(
        dim=values.whole("dim"),
        ffn_dim=values.whole("ffn_dim"),
        num_layers=values.whole("num_layers"),
        num_heads=values.whole("num_heads"),
        in_channels=values.whole("in_dim"),
        out_channels=values.whole("out_dim"),
        text_dim=values.whole("text_dim", DiTShape.text_dim),
        text_len=values.whole("text_len", DiTShape.text_len),
        freq_dim=values.whole("freq_dim", DiTShape.freq_dim),
        eps=values.real("eps", DiTShape.eps),
        vace_layers=values.wholes("vace_layers", least=0),
        vace_channels=values.whole("vace_in_dim", DiTShape.vace_channels),
        speech=SpeechShape(blocks=blocks) if blocks else None,
    )


def _from_diffusers(values: ConfigValues) -> DiTShape:
    heads, in_channels = values.whole("num_attention_heads"), values.whole("in_channels")
    return DiTShape(
        dim=heads * values.whole("attention_head_dim"),
        ffn_dim=values.whole("ffn_dim"),
        num_layers=values.whole("num_layers"),
        num_heads=heads,
        in_channels=in_channels,
        out_channels=values.optional("out_channels") or in_channels,
        text_dim=values.whole("text_dim"),
        freq_dim=values.whole("freq_dim"),
        eps=values.real("eps"),
        image_dim=values.optional("image_dim"),
        image_tokens=values.optional("pos_embed_seq_len"),
        vace_layers=values.wholes("vace_layers", least=0),
        vace_channels=values.whole("vace_in_channels", DiTShape.vace_channels),
    )


def with_parts(shape: DiTShape, tensors: Shapes) -> DiTShape:
    """Add to the sizes what only tensors show: CLIP's branch, parts for a camera, a reference's.

    Raises:
        WeightsError: it is not known after which blocks a model reads speech.
    """
    poses = tensors.get("blocks.0.cam_encoder.weight")
    face = tensors.get("blocks.0.self_attn.q_loras.down.weight")
    adapter, reference = tensors.get("control_adapter.conv.weight"), tensors.get("ref_conv.weight")
    shape = replace(
        shape,
        camera_channels=CAMERA_CHANNELS if adapter else 0,
        camera_stride=_camera_stride(adapter[1]) if adapter else 0,
        reference_channels=reference[1] if reference else 0,
        pose_numbers=poses[1] if poses else 0,
        driven=any(name.startswith(NESTED) for name in tensors),
        face_rank=face[0] if face else 0,
        face=_face_shape(tensors, shape.num_layers),
        speech=_speech_shape(tensors, shape),
        second_timestep="time_embedding_r.0.weight" in tensors,
        sparse_attention=_sparse_attention(tensors),
        frame_rates=tensors.get("fps_embedding.weight", (0,))[0],
    )
    norm, positions = tensors.get("img_emb.proj.0.weight"), tensors.get("img_emb.emb_pos")
    if not norm or not _of_block(tensors, "cross_attn.k_img.weight"):  # half of it is of no use
        return replace(shape, image_dim=None, image_tokens=None)
    return replace(shape, image_dim=norm[0], image_tokens=positions[1] if positions else None)


def _sparse_attention(tensors: Shapes) -> Literal["", "vsa", "sla"]:
    if "blocks.0.to_gate_compress.weight" in tensors:
        return "vsa"
    return "sla" if f"blocks.0.{LINEAR_BRANCH}.weight" in tensors else ""


def _camera_stride(inputs: int) -> int:
    """`DiTShape.camera_stride` of an adapter with so many inputs, the rays of a cell of pixels."""
    stride = math.isqrt(max(inputs, 0) // CAMERA_CHANNELS)
    return 0 if stride == SPATIAL_STRIDE else stride


def _face_shape(tensors: Shapes, layers: int) -> FaceShape | None:
    """Sizes of Animate's networks for faces; None without them."""
    convs = "motion_encoder.enc.net_app.convs"
    first = tensors.get(f"{convs}.0.0.weight")
    blocks = numbered(tensors, "face_adapter.fuser_blocks.")
    if first is None or not blocks:
        return None
    count = numbered(tensors, f"{convs}.") - 2
    hidden = tensors["face_encoder.conv2.conv.weight"][0]
    return FaceShape(
        channels=(
            first[0], *(tensors[f"{convs}.{n}.conv2.1.weight"][0] for n in range(1, count + 1))
        ),
        style=tensors[f"{convs}.{count + 1}.weight"][0],
        motions=tensors["motion_encoder.dec.direction.weight"][1],
        width=tensors["motion_encoder.dec.direction.weight"][0],
        hidden=hidden,
        heads=tensors["face_encoder.conv1_local.conv.weight"][0] // hidden,
        every=-(-layers // blocks),
    )  # fmt: skip


def _speech_shape(tensors: Shapes, shape: DiTShape) -> SpeechShape | None:
    """Sizes of S2V's networks for speech; None without them.

    Raises:
        WeightsError: it is not known after which blocks they are.
    """
    encoder = "casual_audio_encoder.encoder"
    mix = tensors.get("casual_audio_encoder.weights", ())
    local = tensors.get(f"{encoder}.conv1_local.conv.weight")
    whole = tensors.get(f"{encoder}.conv1_global.conv.weight")
    if len(mix) < len(PATCH) or not local or not whole:
        return None
    count = numbered(tensors, "audio_injector.injector.")
    stated = (shape.speech or SpeechShape()).blocks
    if len(stated) != count or max(stated, default=0) >= shape.num_layers:
        raise WeightsError(
            f"{SPEECH_BLOCKS}: the model of {shape.num_layers} layers reads speech after {count} "
            "of them, and its config.json has no list of these"
        )
    return SpeechShape(mix[1], local[1], local[0] // whole[0], stated)


def dit_config(shape: DiTShape, layout: str) -> dict[str, Any]:
    """The config.json that describes a transformer."""
    if layout == "diffusers" and not shape.driven:
        return transformer_config(shape)
    config: dict[str, Any] = {
        "_class_name": _class_name(shape),
        "model_type": _kind(shape),
        "dim": shape.dim,
        "ffn_dim": shape.ffn_dim,
        "num_heads": shape.num_heads,
        "num_layers": shape.num_layers,
        "in_dim": shape.in_channels,
        "out_dim": shape.out_channels,
        "text_len": shape.text_len,
        "text_dim": shape.text_dim,
        "freq_dim": shape.freq_dim,
        "eps": shape.eps,
    }
    if shape.vace_layers:
        config["vace_layers"] = list(shape.vace_layers)
        config["vace_in_dim"] = shape.vace_channels
    if shape.camera_channels:
        config["add_control_adapter"] = True
        config["in_dim_control_adapter"] = shape.camera_channels
        config["downscale_factor_control_adapter"] = shape.ray_stride
    if shape.reference_channels:
        config["add_ref_conv"] = True
        config["in_dim_ref_conv"] = shape.reference_channels
    if shape.speech:
        config[SPEECH_BLOCKS] = list(shape.speech.blocks)
        config["audio_dim"] = shape.speech.width
        config["num_audio_token"] = shape.speech.tokens
    if shape.frame_rates:
        config["inject_sample_info"] = True
    return config


def _class_name(shape: DiTShape) -> str:
    """The class of the official code; of Animate 2, whose config both spell alike, diffusers'."""
    if shape.driven:
        return "WanAnimate2Transformer3DModel"
    if shape.speech:
        return "WanModel_S2V"
    return "VaceWanModel" if shape.vace_layers else "WanModel"


def _kind(shape: DiTShape) -> str:
    """`model_type` of the official spelling."""
    if shape.vace_layers:
        return "vace"
    if shape.speech:
        return "s2v"
    if shape.in_channels == shape.out_channels:
        return "ti2v" if shape.out_channels == TI2V_CHANNELS else "t2v"
    return "flf2v" if shape.image_tokens else "i2v"


def dit_shape_from_tensors(shapes: Shapes, where: str) -> DiTShape:
    """Sizes of a transformer from tensor shapes by official name, assuming heads of width 128.

    Raises:
        WeightsError: a tensor that shows a size is missing, or the width is no multiple of 128.
    """
    try:
        dim, in_channels = shapes["patch_embedding.weight"][:2]
        ffn_dim = (_of_block(shapes, "ffn.0.weight") or shapes["blocks.0.ffn.0.weight"])[0]
        out_channels = shapes["head.head.weight"][0] // (PATCH[0] * PATCH[1] * PATCH[2])
        text_dim = shapes["text_embedding.0.weight"][1]
        freq_dim = shapes["time_embedding.0.weight"][1]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a Wan transformer") from None
    except (ValueError, IndexError):
        raise WeightsError(
            f"{where}: its tensors have too few dimensions for a Wan transformer"
        ) from None
    if min(dim, in_channels, ffn_dim, out_channels, text_dim, freq_dim) < 1:
        raise WeightsError(f"{where}: a size of its tensors is 0; not a Wan transformer")
    if dim % PUBLISHED_HEAD_DIM:
        raise WeightsError(
            f"{where}: width {dim} is no multiple of {PUBLISHED_HEAD_DIM}, so the number of heads "
            "is unknown; put the model's config.json in the folder of the file"
        )
    blocks = numbered(shapes, "blocks.")
    control = numbered(shapes, "vace_blocks.")
    # hints go to evenly spaced blocks from the first on, in every published model
    every = -(-blocks // control) if control else 1
    shape = DiTShape(
        dim=dim,
        ffn_dim=ffn_dim,
        num_layers=blocks,
        num_heads=dim // PUBLISHED_HEAD_DIM,
        in_channels=in_channels,
        out_channels=out_channels,
        text_dim=text_dim,
        freq_dim=freq_dim,
        vace_layers=tuple(range(0, blocks, every)) if control else (),
        vace_channels=shapes.get("vace_patch_embedding.weight", (0, DiTShape.vace_channels))[1],
    )
    return with_parts(shape, shapes)


def _of_block(shapes: Shapes, name: str) -> tuple[int, ...] | None:
    """Shape of a tensor of the first block."""
    return shapes.get(f"blocks.0.{name}") or shapes.get(f"{NESTED}{name}")


def numbered(shapes: Shapes, row: str) -> int:
    """Number of blocks whose names start with a prefix, e.g. `blocks.`."""
    return len({n.removeprefix(row).split(".")[0] for n in shapes if n.startswith(row)})
