"""The config.json of a transformer as diffusers writes it."""

from typing import Any

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape, FaceShape

ROPE_POSITIONS = 1024


def transformer_class(shape: DiTShape) -> str:
    """The class of diffusers for a transformer."""
    if shape.frame_rates:
        return "SkyReelsV2Transformer3DModel"
    if shape.face:
        return "WanAnimateTransformer3DModel"
    return "WanVACETransformer3DModel" if shape.vace_layers else "WanTransformer3DModel"


def transformer_config(shape: DiTShape) -> dict[str, Any]:
    """The config.json that describes a transformer other than Animate 2's.

    Raises:
        WeightsError: diffusers has no class for it.
    """
    if shape.second_timestep or shape.sparse_attention == "sla":
        raise WeightsError(
            "layout diffusers: has no second timestep and no linear attention; take official or "
            "single"
        )
    if shape.speech:
        raise WeightsError("layout diffusers: has no class of S2V; take official or single")
    config: dict[str, Any] = {
        "_class_name": transformer_class(shape),
        "num_attention_heads": shape.num_heads,
        "attention_head_dim": shape.head_dim,
        "in_channels": shape.in_channels,
        "out_channels": shape.out_channels,
        "ffn_dim": shape.ffn_dim,
        "num_layers": shape.num_layers,
        "text_dim": shape.text_dim,
        "freq_dim": shape.freq_dim,
        "eps": shape.eps,
        "patch_size": list(PATCH),
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": ROPE_POSITIONS,
        "image_dim": shape.image_dim,
        "added_kv_proj_dim": shape.dim if shape.image_dim else None,
        "pos_embed_seq_len": shape.image_tokens,
    }
    if shape.vace_layers:
        config["vace_layers"] = list(shape.vace_layers)
        config["vace_in_channels"] = shape.vace_channels
    if shape.face:
        config |= _face_config(shape, shape.face)
    if shape.frame_rates:
        config["inject_sample_info"] = True
    return config


def _face_config(shape: DiTShape, face: FaceShape) -> dict[str, Any]:
    """Keys of Animate's networks for a face."""
    sides = [face.side >> level for level in range(len(face.channels))]
    return {
        "latent_channels": shape.out_channels,
        "motion_encoder_channel_sizes": {
            str(side): channels for side, channels in zip(sides, face.channels, strict=True)
        },
        "motion_encoder_size": face.side,
        "motion_style_dim": face.style,
        "motion_dim": face.motions,
        "motion_encoder_dim": face.width,
        "face_encoder_hidden_dim": face.hidden,
        "face_encoder_num_heads": face.heads,
        "inject_face_latents_blocks": face.every,
    }
