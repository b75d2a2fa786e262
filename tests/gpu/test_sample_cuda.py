"""The whole command on a GPU against itself on the CPU, with each key that is for GPUs."""

import pytest
import torch
from safetensors.torch import load_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample

# What drivers and compilers of other releases warn of is no failure.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

DEVICE = "cuda"
SIZE = ["sample.frames=9", "sample.height=64", "sample.width=96", "sample.steps=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with random weights of the demo's sizes."""
    out = tmp_path_factory.mktemp("cuda")
    tiny = VARIANTS["tiny"]
    torch.manual_seed(0)
    model = WanModel(tiny.dit)
    torch.nn.init.normal_(model.head.head.weight, std=0.05)
    save_dit(model, out / "dit")
    save_vae(WanVAE(tiny.vae), out / "vae")
    return out


def latents(folder, device, *overrides):
    keys = [*SIZE, "sample.save_latents=true", f"device={device}", *overrides]
    (path,) = sample(load_recipe("tiny", keys), "a fox", folder / device)
    assert path.stat().st_size > 1000
    return load_file(path.with_suffix(".safetensors"))["latents"]


@pytest.fixture(scope="module")
def expected(folder):
    return latents(folder, "cpu", f"model.weights={folder}")


# On the CPU bf16 is 1.4e-3 from fp32, fp8 3.5e-3.
@pytest.mark.parametrize(
    ("keys", "worst"),
    [
        (["model.dtype=fp32"], 1e-3),
        (["model.dtype=fp32", "model.precision=reference"], 1e-3),
        (["model.dtype=bf16"], 0.02),
        (["model.dtype=bf16", "model.precision=reference"], 0.02),
        (["model.dtype=bf16", "model.stream_blocks=true"], 0.02),
        (["model.dtype=bf16", "model.compile=true", "model.stream_blocks=true"], 0.02),
        (["model.dtype=bf16", "model.quantize=fp8", "model.stream_blocks=true"], 0.05),
        (["model.dtype=bf16", "model.vae_tile=224"], 0.02),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_sample_is_that_of_the_cpu(folder, expected, keys, worst):
    found = latents(folder, DEVICE, f"model.weights={folder}", *keys)
    assert ((found - expected).norm() / expected.norm()).item() < worst
