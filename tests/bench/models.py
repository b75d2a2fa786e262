"""The transformers that benchmarks compare: 1.3B widths, four layers, random weights."""

import torch

from wanctl.model.dit import WanModel
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
