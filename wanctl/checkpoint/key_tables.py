"""Key tables: published parameter names and the names that other libraries store.

A row is a pair (published name, other name) of a parameter or of a layer, then for its `.weight`,
`.bias` and `.gamma`; N is a block number. Nothing is reshaped or transposed, so that renaming both
ways is the entire conversion.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from wanctl.checkpoint.diffusers_layout.animate import animate_rows
from wanctl.model.variants import VAEShape

KeyTable = tuple[tuple[str, str], ...]

# Community single files put the transformer below this name.
COMMUNITY_PREFIX = "model.diffusion_model."

# Beginnings of names that only diffusers and transformers give.
_DRIVEN_MARK = "blocks.0.self_attn.to_q."
_FOREIGN_MARKS = ("condition_embedder.", "quant_conv.", "encoder.block.", _DRIVEN_MARK)

# Some releases of the transformer carry this norm; no code path uses it.
UNUSED_NORM = "norm_added_q"

_ATTENTION = (
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("o", "to_out.0"),
    ("norm_q", "norm_q"),
    ("norm_k", "norm_k"),
)

_IMAGE_ATTENTION = (
    ("k_img", "add_k_proj"),
    ("v_img", "add_v_proj"),
    ("norm_k_img", "norm_added_k"),
)

_BLOCK = (
    ("modulation", "scale_shift_table"),
    ("norm3", "norm2"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    *((f"self_attn.{ours}", f"attn1.{theirs}") for ours, theirs in _ATTENTION),
    *((f"cross_attn.{ours}", f"attn2.{theirs}") for ours, theirs in _ATTENTION),
    *((f"cross_attn.{ours}", f"attn2.{theirs}") for ours, theirs in _IMAGE_ATTENTION),
)

DIT_KEYS: KeyTable = (
    ("patch_embedding", "patch_embedding"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
    ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
    ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
    ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
    ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
    ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
    ("fps_projection.0", "fps_projection.net.0.proj"),
    ("fps_projection.2", "fps_projection.net.2"),
    ("vace_patch_embedding", "vace_patch_embedding"),
    ("vace_blocks.N.before_proj", "vace_blocks.N.proj_in"),
    ("vace_blocks.N.after_proj", "vace_blocks.N.proj_out"),
    *(
        (f"{row}.N.{ours}", f"{row}.N.{theirs}")
        for row in ("blocks", "vace_blocks")
        for ours, theirs in _BLOCK
    ),
)

# Animate 2, of whose blocks diffusers renames the attention alone.
NESTED = "blocks.N.block."
DRIVEN_KEYS: KeyTable = (
    *(
        (f"{NESTED}{name}", f"blocks.N.{name}")
        for name in ("modulation", "norm3", "ffn.0", "ffn.2")
    ),
    *(
        (f"{NESTED}{part}.{ours}", f"blocks.N.{part}.{theirs}")
        for part in ("self_attn", "cross_attn")
        for ours, theirs in _ATTENTION
    ),
    *(
        (f"{NESTED}cross_attn.{ours}", f"blocks.N.cross_attn.{theirs}")
        for ours, theirs in _IMAGE_ATTENTION
    ),
)

# ComfyUI's umT5 files carry the bytes of their sentencepiece model, without which it reads none.
VOCABULARY = "spiece_model"

# umT5: published `.pth`, transformers' UMT5EncoderModel.
TEXT_KEYS: KeyTable = (
    ("token_embedding", "shared"),
    ("norm", "encoder.final_layer_norm"),
    ("blocks.N.norm1", "encoder.block.N.layer.0.layer_norm"),
    ("blocks.N.norm2", "encoder.block.N.layer.1.layer_norm"),
    *(
        (f"blocks.N.attn.{name}", f"encoder.block.N.layer.0.SelfAttention.{name}")
        for name in ("q", "k", "v", "o")
    ),
    (
        "blocks.N.pos_embedding.embedding",
        "encoder.block.N.layer.0.SelfAttention.relative_attention_bias",
    ),
    ("blocks.N.ffn.gate.0", "encoder.block.N.layer.1.DenseReluDense.wi_0"),
    ("blocks.N.ffn.fc1", "encoder.block.N.layer.1.DenseReluDense.wi_1"),
    ("blocks.N.ffn.fc2", "encoder.block.N.layer.1.DenseReluDense.wo"),
)

# CLIP: published `.pth`, transformers' CLIPVisionModel. Three tensors change shape as well:
# the two embeddings lose their dimensions of one, and `to_qkv` is cut into three.
IMAGE_KEYS: KeyTable = (
    ("visual.cls_embedding", "embeddings.class_embedding"),
    ("visual.pos_embedding", "embeddings.position_embedding.weight"),
    ("visual.patch_embedding", "embeddings.patch_embedding"),
    ("visual.pre_norm", "pre_layrnorm"),
    ("visual.transformer.N.norm1", "encoder.layers.N.layer_norm1"),
    ("visual.transformer.N.norm2", "encoder.layers.N.layer_norm2"),
    ("visual.transformer.N.attn.to_qkv", "encoder.layers.N.self_attn.to_qkv"),
    ("visual.transformer.N.attn.proj", "encoder.layers.N.self_attn.out_proj"),
    ("visual.transformer.N.mlp.0", "encoder.layers.N.mlp.fc1"),
    ("visual.transformer.N.mlp.2", "encoder.layers.N.mlp.fc2"),
    ("visual.post_norm", "post_layernorm"),
)

_RESIDUAL = (
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
)
_RESAMPLE = (("resample.1", "resample.1"), ("time_conv", "time_conv"))
_SPATIAL_ATTENTION = (("norm", "norm"), ("to_qkv", "to_qkv"), ("proj", "proj"))


def are_foreign(names: Iterable[str]) -> bool:
    """Whether names of one network's tensors are those of diffusers or transformers."""
    return any(name.startswith(_FOREIGN_MARKS) for name in names)


def dit_key_table_of(names: Iterable[str]) -> KeyTable:
    """Rows of a transformer with tensors of these names, of either layout."""
    driven, names = ("blocks.0.block.", _DRIVEN_MARK), list(names)
    if any(name.startswith(driven) for name in names):
        return DRIVEN_KEYS
    return (*DIT_KEYS, *animate_rows(names))


def vae_keys(num_levels: int, num_res_blocks: int) -> KeyTable:
    """Rows of the causal VAE.

    The published encoder and diffusers' both number their layers flat; of the decoders only the
    published one does, hence the dependence on the sizes.
    """
    rows = _vae_ends()
    rows += _below("encoder.downsamples.N", "encoder.down_blocks.N", (*_RESIDUAL, *_RESAMPLE))
    flat = 0
    for level in range(num_levels):
        for block in range(num_res_blocks + 1):
            name = f"decoder.up_blocks.{level}.resnets.{block}"
            rows += _below(f"decoder.upsamples.{flat}", name, _RESIDUAL)
            flat += 1
        if level < num_levels - 1:
            name = f"decoder.up_blocks.{level}.upsamplers.0"
            rows += _below(f"decoder.upsamples.{flat}", name, _RESAMPLE)
            flat += 1
    return tuple(rows)


def vae22_keys(num_levels: int, num_res_blocks: int) -> KeyTable:
    """Rows of the Wan 2.2 VAE, whose levels are modules of their own in both layouts."""
    rows = _vae_ends()
    for level in range(num_levels):
        for half, layers, blocks, resampler, count in (
            ("encoder", "downsamples", "down_blocks", "downsampler", num_res_blocks),
            ("decoder", "upsamples", "up_blocks", "upsampler", num_res_blocks + 1),
        ):
            ours, theirs = f"{half}.{layers}.{level}.{layers}", f"{half}.{blocks}.{level}"
            for block in range(count):
                rows += _below(f"{ours}.{block}", f"{theirs}.resnets.{block}", _RESIDUAL)
            rows += _below(f"{ours}.{count}", f"{theirs}.{resampler}", _RESAMPLE)
    return tuple(rows)


def vae_key_table(shape: VAEShape) -> KeyTable:
    """Rows of a VAE of these sizes."""
    table = vae22_keys if shape.residual else vae_keys
    return table(len(shape.dim_mult), shape.num_res_blocks)


def vae_key_table_of(names: Iterable[str]) -> KeyTable:
    """Rows of a VAE in the diffusers layout; the decoder's numbering gives the sizes."""
    names = list(names)
    resnets = [n.split(".") for n in names if re.match(r"decoder\.up_blocks\.\d+\.resnets\.", n)]
    levels = {int(pieces[2]) for pieces in resnets}
    blocks = max((int(pieces[4]) for pieces in resnets), default=0)
    nested = any(name.startswith("encoder.down_blocks.0.resnets.") for name in names)
    return (vae22_keys if nested else vae_keys)(len(levels), blocks)


def _vae_ends() -> list[tuple[str, str]]:
    """Rows of the layers before and after the levels, which both VAEs share."""
    rows = [("conv1", "quant_conv"), ("conv2", "post_quant_conv")]
    for half in ("encoder", "decoder"):
        rows += _below(half, half, (("conv1", "conv_in"), ("head.0", "norm_out")))
        rows += _below(half, half, (("head.2", "conv_out"),))
        rows += _below(f"{half}.middle.0", f"{half}.mid_block.resnets.0", _RESIDUAL)
        rows += _below(f"{half}.middle.1", f"{half}.mid_block.attentions.0", _SPATIAL_ATTENTION)
        rows += _below(f"{half}.middle.2", f"{half}.mid_block.resnets.1", _RESIDUAL)
    return rows


def _below(ours: str, theirs: str, rows: Iterable[tuple[str, str]]) -> KeyTable:
    return tuple((f"{ours}.{a}", f"{theirs}.{b}") for a, b in rows)


def to_diffusers(names: Iterable[str], table: KeyTable) -> dict[str, str]:
    """Official name -> the other library's; a name that is in no row stays as it is."""
    return {name: _rename(name, _patterns(table)) for name in names}


def to_official(names: Iterable[str], table: KeyTable) -> dict[str, str]:
    """The other library's name -> official; a name that is in no row stays as it is."""
    backwards = _patterns(tuple((theirs, ours) for ours, theirs in table))
    return {name: _rename(name, backwards) for name in names}


def _rename(name: str, patterns: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in patterns:
        match = pattern.fullmatch(name)
        if match:
            number = match.groupdict().get("number") or ""
            return replacement.replace(".N.", f".{number}.") + (match["leaf"] or "")
    return name


@cache
def _patterns(table: KeyTable) -> tuple[tuple[re.Pattern[str], str], ...]:
    leaf = r"(?P<leaf>\.weight|\.bias|\.gamma)?"
    return tuple(
        (re.compile(re.escape(old).replace(r"\.N\.", r"\.(?P<number>\d+)\.") + leaf), new)
        for old, new in table
    )
