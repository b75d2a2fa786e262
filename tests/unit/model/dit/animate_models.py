"""A small transformer of Animate, and diffusers' with the same weights."""

import re

import torch

from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.model.dit.animate.poses import AnimateModel
from wanctl.model.dit.networks import make_dit
from wanctl.model.variants import DiTShape, FaceShape

FACE = FaceShape(channels=(8, 8, 12), style=10, motions=4, width=12, hidden=8, heads=2, every=2)
SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=4, num_heads=2, in_channels=36, text_dim=24, freq_dim=32,
    image_dim=16, face=FACE,
)  # fmt: skip
LAYERS = (
    (r"face_adapter\.fuser_blocks", "face_adapter"),
    (r"linear1_q", "to_q"),
    (r"linear2", "to_out"),
    (r"\bq_norm", "norm_q"),
    (r"\bk_norm", "norm_k"),
    (r"(face_encoder\.\w+)\.conv\.", r"\1."),
    (r"enc\.fc", "motion_network"),
    (r"dec\.direction\.weight", "motion_synthesis_weight"),
    (r"enc\.net_app\.convs\.0\.0\.weight", "conv_in.weight"),
    (r"enc\.net_app\.convs\.0\.1\.bias", "conv_in.act_fn.bias"),
    (r"conv1\.0\.weight", "conv1.weight"),
    (r"conv1\.1\.bias", "conv1.act_fn.bias"),
    (r"conv2\.1\.weight", "conv2.weight"),
    (r"conv2\.2\.bias", "conv2.act_fn.bias"),
    (r"skip\.1\.weight", "conv_skip.weight"),
)


def random_animate() -> AnimateModel:
    torch.manual_seed(0)
    made = make_dit(SHAPE, "reference").eval()
    for name, parameter in made.named_parameters():
        vector = parameter.ndim < 2 or "modulation" in name or "padding" in name
        fan_in = 1 if name.startswith("motion_encoder") else parameter[0].numel()
        torch.nn.init.normal_(parameter, std=0.3 if vector else fan_in**-0.5)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    assert isinstance(made, AnimateModel)
    return made


def diffusers_animate(model: AnimateModel):
    from diffusers import WanAnimateTransformer3DModel

    theirs = WanAnimateTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, text_dim=24, freq_dim=32, ffn_dim=64,
        num_layers=4, image_dim=16, added_kv_proj_dim=48, motion_encoder_size=FACE.side,
        motion_encoder_channel_sizes={"4": 12, "8": 8, "16": 8}, motion_style_dim=10, motion_dim=4,
        motion_encoder_dim=12, face_encoder_hidden_dim=8, face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    ).eval()  # fmt: skip
    theirs.load_state_dict(diffusers_state(model.state_dict()))
    return theirs


def diffusers_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names, found = to_diffusers(state, DIT_KEYS), {}
    last = len(FACE.channels)
    for name, tensor in state.items():
        new = names[name]
        if name.endswith("kernel"):
            continue
        if name.startswith(("face_", "motion_")):
            new = new.replace(f"enc.net_app.convs.{last}.weight", "conv_out.weight")
            for old, replacement in LAYERS:
                new = re.sub(old, replacement, new)
            new = re.sub(
                r"enc\.net_app\.convs\.(\d+)", lambda m: f"res_blocks.{int(m[1]) - 1}", new
            )
            if new.endswith("act_fn.bias"):
                tensor = tensor.flatten()
        if ".linear1_kv." in new:
            for part, half in zip("kv", tensor.chunk(2), strict=True):
                found[new.replace("linear1_kv", f"to_{part}")] = half
        else:
            found[new] = tensor
    return found
