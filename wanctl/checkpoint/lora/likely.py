"""Which model a LoRA file was probably made for, for the error where it fits nothing."""

import re
from collections.abc import Mapping

from torch import Tensor

from wanctl.checkpoint.lora.keys import parse
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape

QUERY = re.compile(r"(?:^|_)(?:vace_)?blocks_(?P<number>\d+)_(?:self_attn_q|attn1_to_q)$")
# Transformers of other models, by a part of their keys.
OTHER_MODELS = {
    "single_transformer_blocks": "Flux", "double_blocks": "Flux or HunyuanVideo",
    "input_blocks": "Stable Diffusion", "down_blocks": "Stable Diffusion",
    "joint_blocks": "Stable Diffusion 3", "adaln_single": "LTX or PixArt",
    "token_refiner": "HunyuanVideo", "img_mod": "Qwen-Image", "transformer_blocks": "another model",
}  # fmt: skip


def likely_model(tensors: Mapping[str, Tensor]) -> str:
    """One clause: the variants with the file's widths and depth, or another model's name."""
    layers = {}
    for key, tensor in tensors.items():
        parsed = parse(key)
        if parsed and parsed.family != "full":
            layers.setdefault(parsed.layer.replace(".", "_"), {})[parsed.role] = tensor
    if not layers and any("patch_embedding" in key for key in tensors):
        return "it is a whole model and no LoRA; name it under model.weights"
    widths = {
        parts["down"].shape[1]
        for name, parts in layers.items()
        if QUERY.search(name) and "down" in parts and parts["down"].ndim > 1
    }
    if len(widths) != 1:
        for part, model in OTHER_MODELS.items():
            if any(part in key for key in tensors):
                return f"it seems to be for {model}, not for a Wan transformer"
        return "it does not seem to be for a Wan transformer"
    width = widths.pop()
    numbers = [int(m["number"]) for n in layers if (m := QUERY.search(n)) and "vace_" not in m[0]]
    depth = 1 + max(numbers, default=0)
    image = any(name.endswith(("k_img", "add_k_proj")) for name in layers)
    control = any("vace_blocks_" in name for name in layers)
    fitting = [v.name for v in VARIANTS.values() if _could_be(v.dit, width, depth, image, control)]
    sizes = f"width {width}, {depth} blocks{', image branch' * image}{', VACE' * control}"
    known = ", ".join(fitting) or "no variant known here"
    return f"it seems to be for {known} ({sizes})"


def _could_be(shape: DiTShape, width: int, depth: int, image: bool, control: bool) -> bool:
    return (
        shape.dim == width
        and shape.num_layers >= depth
        and (bool(shape.image_dim) or not image)
        and (bool(shape.vace_layers) or not control)
    )
