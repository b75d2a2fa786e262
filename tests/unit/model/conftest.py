"""Small transformers whose every parameter matters."""

from collections.abc import Callable

import pytest
import torch

from wanctl.model.dit import WanModel
from wanctl.model.variants import DiTShape


@pytest.fixture
def random_dit() -> Callable[..., WanModel]:
    """(shape, precision) -> a model in which nothing is zero or one."""

    def make(shape: DiTShape, precision: str = "fast", seed: int = 0) -> WanModel:
        model = WanModel(shape, precision)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            vector = parameter.ndim < 2 or "modulation" in name
            scale = 0.3 if vector else parameter[0].numel() ** -0.5
            weight = "norm" in name and name.endswith("weight")
            parameter.data = noise * scale + (1.0 if weight else 0)
        return model.eval()

    return make
