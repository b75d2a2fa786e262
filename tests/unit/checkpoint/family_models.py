"""Random transformers of a few thousand parameters in the layout of any family."""

from dataclasses import replace

import torch

from wanctl.checkpoint.registry import structures
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SMALL = DiTShape(dim=128, ffn_dim=8, num_layers=2, num_heads=1, text_dim=8, freq_dim=8)
EXTRA = {
    structures.REFERENCE: {"ref_conv.weight": (128, 16, 2, 2)},
    structures.CAMERA: {"control_adapter.conv.weight": (128, 24, 2, 2)},
    structures.ANIMATE: {"face_adapter.fuser_blocks.0.linear2.bias": (128,)},
    structures.SPEECH: {"audio_injector.injector.0.q.bias": (128,)},
    structures.TALK: {"audio_proj.norm.weight": (768,)},
    structures.MUSIC: {"img_emb_refimage.proj.0.weight": (8,)},
    structures.RECAMERA: {"blocks.0.cam_encoder.bias": (128,)},
    structures.FRAME_RATE: {"fps_embedding.weight": (2, 128)},
    structures.GATES: {"blocks.0.to_gate_compress.bias": (128,)},
    structures.LINEAR_ATTENTION: {"blocks.0.self_attn.attn_op.local_attn.proj_l.bias": (128,)},
    structures.SECOND_TIMESTEP: {"time_embedding_r.0.bias": (128,)},
    structures.INT8: {"blocks.0.ffn.0.int8_weight": (8, 128)},
}


def state_of(structure: structures.Structure):
    """A random state dict of the smallest transformer with this structure."""
    parts = structure.parts
    channels = structure.copies * structure.latent_channels + structure.mask_channels
    shape = replace(
        SMALL,
        in_channels=channels,
        out_channels=structure.latent_channels,
        image_dim=8 if structures.CLIP in parts else None,
        image_tokens=4 if structures.TWO_IMAGES in parts else None,
        vace_layers=(0,) if structures.VACE in parts else (),
    )
    state = {name: tensor.clone() for name, tensor in WanModel(shape).state_dict().items()}
    for part, shapes in EXTRA.items():
        state |= {n: torch.zeros(s) for n, s in shapes.items() if part in parts}
    if structures.ANIMATE_2 in parts:
        state = {
            name.replace("blocks.0.", "blocks.0.block.").replace("blocks.1.", "blocks.1.block."): t
            for name, t in state.items()
        }
    return state
