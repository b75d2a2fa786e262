"""Features of the transformer that need a GPU: asynchronous streaming, kernels, fp8, compile."""

import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.dit.attention import attention
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.runtime.attention_kernels import SDPA_BACKENDS, get_kernel
from wanctl.runtime.quantize import QuantizedLinear, quantize
from wanctl.runtime.streaming import stream_blocks

# What drivers and compilers of other releases warn of is no failure.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

SHAPE = DiTShape(
    dim=512, ffn_dim=1024, num_layers=6, num_heads=4, text_dim=64, text_len=64
)  # fmt: skip
DEVICE = torch.device("cuda")


def model(device="cuda") -> WanModel:
    torch.manual_seed(0)
    network = WanModel(SHAPE).cast(torch.bfloat16)
    torch.nn.init.normal_(network.head.head.weight, std=0.05)
    return network.to(device).eval()


def inputs():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 5, 16, 16, generator=generator)
    context = torch.randn(1, 64, 64, generator=generator)
    context[:, 20:] = 0
    return latents.to(DEVICE), torch.tensor([700.0], device=DEVICE), context.to(DEVICE)


def distance(a, b) -> float:
    return ((a - b).norm() / b.norm()).item()


@torch.no_grad()
def test_streamed_blocks_give_the_same_bits_in_less_memory():
    expected = model()(*inputs())
    streamed = stream_blocks(model("cpu"), DEVICE)
    torch.cuda.synchronize()
    for _ in range(5):
        assert torch.equal(streamed(*inputs()), expected)
    blocks = sum(p.nbytes for b in streamed.blocks for p in b.parameters())
    on_gpu = sum(p.nbytes for p in streamed.parameters() if p.is_cuda)
    assert on_gpu < blocks
    assert all(p.is_pinned() for p in streamed.blocks[0].parameters())


@torch.no_grad()
def test_precomputed_cross_attention_gives_the_same_velocity():
    network = model()
    latents, timesteps, context = inputs()
    precomputed = network.precompute_cross_attention(context)
    assert precomputed.blocks[0].k.shape[1] == 21
    assert (
        distance(network(latents, timesteps, precomputed), network(latents, timesteps, context))
        < 5e-3
    )


@torch.no_grad()
@pytest.mark.parametrize("name", [*SDPA_BACKENDS, "sdpa", "fa3", "sage"])
def test_kernels_agree(name):
    try:
        kernel, _ = get_kernel(name, DEVICE, torch.bfloat16)
    except UserError as error:
        pytest.skip(str(error))
    q, k, v = torch.randn(3, 1, 512, 4, 128, device=DEVICE, dtype=torch.bfloat16).unbind()
    assert distance(kernel(q, k, v).float(), attention(q, k, v).float()) < 0.05


@torch.no_grad()
@pytest.mark.parametrize("kind", ["int8", "fp8", "fp8-dynamic"])
def test_eight_bits_move_a_velocity_little(kind):
    if kind == "fp8-dynamic" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no fp8 products here")
    moved = quantize(model("cpu"), kind).to(DEVICE)(*inputs())
    assert 0 < distance(moved, model()(*inputs())) < 0.1


@torch.no_grad()
def test_the_fp8_product_is_that_of_its_rounded_factors():
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no fp8 products here")
    linear = torch.nn.Linear(512, 256).to(DEVICE, torch.bfloat16)
    x = torch.randn(2, 64, 512, device=DEVICE, dtype=torch.bfloat16)
    assert distance(QuantizedLinear(linear, "fp8-dynamic")(x).float(), linear(x).float()) < 0.06


@torch.no_grad()
def test_compiled_blocks_agree():
    network = model()
    expected = network(*inputs())
    assert distance(network.compile_blocks()(*inputs()), expected) < 1e-2
