"""The transformers that benchmarks compare: random weights; on the CPU 1.3B widths, four layers."""

import torch

from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=1536, ffn_dim=8960, num_layers=4, num_heads=12)


def our_transformer() -> WanModel:
    with torch.device("meta"):
        model = WanModel(SHAPE)
    randomise(model.to_empty(device="cpu"))
    return model.eval()


def their_transformer() -> torch.nn.Module:
    """diffusers' of the same shape."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        num_attention_heads=SHAPE.num_heads, ffn_dim=SHAPE.ffn_dim, num_layers=SHAPE.num_layers
    )
    randomise(model)
    return model.eval()


def randomise(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02, generator=generator)


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of a prompt of 40 tokens and a negative one of 120, zero rows after their ends."""
    both = torch.randn(2, SHAPE.text_len, SHAPE.text_dim)
    both[0, 40:] = 0
    both[1, 120:] = 0
    return both[:1], both[1:]


def drawn_transformer(shape: DiTShape, device: torch.device, precision: str = "fast") -> WanModel:
    """fp32 weights that bf16 represents, drawn so that layers keep the size of what they get."""
    with torch.device("meta"):
        model = WanModel(shape, precision)
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        vector = parameter.ndim < 2 or "modulation" in name
        scale = 0.3 if vector else parameter[0].numel() ** -0.5
        drawn = parameter.data.normal_(std=scale, generator=generator)
        if "norm" in name and name.endswith("weight"):
            drawn += 1
        parameter.data = drawn.bfloat16().float()
    return model.eval()


def diffusers_twin(weights: WanModel, dtype: torch.dtype) -> torch.nn.Module:
    """diffusers' transformer with the same weights, in the formats that its loader gives them."""
    from diffusers import WanTransformer3DModel

    shape = weights.shape
    with torch.device(weights.head.head.weight.device):
        model = WanTransformer3DModel(
            num_attention_heads=shape.num_heads,
            attention_head_dim=shape.head_dim,
            in_channels=shape.in_channels,
            out_channels=shape.out_channels,
            text_dim=shape.text_dim,
            freq_dim=shape.freq_dim,
            ffn_dim=shape.ffn_dim,
            num_layers=shape.num_layers,
            eps=shape.eps,
        )
    state = weights.state_dict()
    names = to_diffusers(state, DIT_KEYS)
    model.load_state_dict({names[name]: tensor for name, tensor in state.items()})
    for name, parameter in model.named_parameters():
        if not set(model._keep_in_fp32_modules).intersection(name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return model.eval()
