"""8-bit weights: how far they move a velocity, and what they weigh."""

import pytest
import torch

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.runtime.nf4 import LEVELS, dequantize_nf4, quantize_nf4
from wanctl.runtime.quantize import FROZEN_KINDS, QuantizedLinear, check_device, quantize

SHAPE = DiTShape(
    dim=96, ffn_dim=256, num_layers=3, num_heads=4, in_channels=4, out_channels=4,
    text_dim=24, text_len=8, freq_dim=16,
)  # fmt: skip


def inputs():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 3, 6, 8, generator=generator)
    return latents, torch.tensor([700.0]), torch.randn(1, 8, 24, generator=generator)


# Measured on the random model: 0.5 % and 2.4 % of the velocity's size.
@pytest.mark.parametrize(("kind", "worst"), [("int8", 0.01), ("fp8", 0.04), ("nf4", 0.15)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_velocity_moves_little(random_dit, kind, worst, dtype):
    with torch.no_grad():
        exact = random_dit(SHAPE)(*inputs())
        moved = quantize(random_dit(SHAPE).cast(dtype), kind)(*inputs())
    distance = ((moved - exact).norm() / exact.norm()).item()
    assert 0 < distance < worst


def test_blocks_take_a_byte_per_weight(random_dit):
    model = quantize(random_dit(SHAPE).cast(torch.bfloat16), "int8")
    matrices = [b for b in model.buffers() if b.ndim == 2]
    assert len(matrices) == 3 * 10
    assert {b.dtype for b in matrices} == {torch.int8}
    assert not any(p.ndim == 2 and "blocks" in n for n, p in model.named_parameters())


@pytest.mark.parametrize("kind", FROZEN_KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loading_in_8_bits_equals_loading_and_then_quantizing(random_dit, tmp_path, kind, dtype):
    save_dit(random_dit(SHAPE).cast(dtype), tmp_path)
    loaded = load_dit(tmp_path, dtype=dtype, quantize_to=kind)
    expected = quantize(load_dit(tmp_path, dtype=dtype), kind)
    plain = {n: t.shape for n, t in load_dit(tmp_path).state_dict().items()}
    state = loaded.state_dict()
    if kind != "nf4":
        assert {n: t.shape for n, t in state.items() if not n.endswith(".scale")} == plain
    state = loaded.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name].float(), tensor.float()), name
    with torch.no_grad():
        assert torch.equal(loaded(*inputs()), expected(*inputs()))


def test_rows_of_zeros_and_extremes_survive():
    linear = torch.nn.Linear(4, 3)
    linear.weight.data = torch.tensor([[0.0] * 4, [1e-3, 0, 0, -1e-3], [300.0, -150, 75, 0]])
    for kind, tolerance in (("int8", 0.006), ("fp8", 0.04)):
        quantized_layer = QuantizedLinear(linear, kind)
        back = quantized_layer.weight.float() * quantized_layer.scale[:, None]
        size = linear.weight.abs().amax(dim=1, keepdim=True)
        assert ((back - linear.weight).abs() <= tolerance * size).all()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_half_precision_stays_in_its_range(kind):
    """As in the second matrix of a feed-forward: many inputs, all of one sign, some large."""
    linear = torch.nn.Linear(4096, 8)
    torch.nn.init.uniform_(linear.weight, 0, 0.01)
    x = 10 * torch.rand(4, 4096)
    with torch.no_grad():
        exact = linear(x)
        got = QuantizedLinear(linear.half(), kind)(x.half()).float()
    assert exact.abs().max() < 200
    assert (got - exact).norm() / exact.norm() < 0.01


def test_the_product_in_fp8_is_that_of_its_rounded_factors():
    if not hasattr(torch, "_scaled_mm"):
        pytest.fail("this torch has no _scaled_mm")
    linear = torch.nn.Linear(64, 32).to(torch.bfloat16)
    quantized_layer = QuantizedLinear(linear, "fp8-dynamic")
    x = torch.randn(2, 16, 64).to(torch.bfloat16)
    plain = torch.nn.functional.linear(x.float(), linear.weight.float(), linear.bias.float())
    with torch.no_grad():
        got = quantized_layer(x).float()
    assert got.shape == (2, 16, 32)
    assert (got - plain).norm() / plain.norm() < 0.06


def test_kinds_and_devices_that_are_not_there():
    with pytest.raises(UserError, match="int8"):
        quantize(torch.nn.Module(), "int9")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs bf16 and a GPU"):
        check_device("fp8-dynamic", torch.device("cpu"), torch.bfloat16)
    check_device("int8", torch.device("cpu"), torch.float32)


def test_the_levels_of_nf4_are_quantiles_of_the_normal_distribution():
    """Appendix E of arXiv 2305.14314: eight quantiles below zero, nine from it on, to 1."""

    def quantiles(count):
        shares = torch.linspace(0.9677083, 0.5, count, dtype=torch.float64)[:-1]
        return (torch.erfinv(2 * shares - 1) * 2**0.5).tolist()

    expected = torch.tensor(sorted([*quantiles(9), 0.0, *(-q for q in quantiles(8))]))
    assert torch.allclose(torch.tensor(LEVELS), expected / expected.max(), atol=1e-6)


@pytest.mark.parametrize("size", [(6, 64), (5, 33)])
def test_nf4_takes_the_nearest_level_and_keeps_the_largest_weight_of_a_block(size):
    weight = torch.randn(size, generator=torch.Generator().manual_seed(0))
    codes, scale = quantize_nf4(weight)
    assert codes.numel() <= (weight.numel() + 63) // 64 * 32
    back = dequantize_nf4(codes, scale, size)
    largest = weight.flatten().abs().argmax()
    assert back.flatten()[largest] == weight.flatten()[largest]
    # half of the widest gap between two levels, 0.304, times the largest weight of all
    assert (back - weight).abs().max() <= 0.1521 * weight.abs().max()
    assert torch.equal(dequantize_nf4(*quantize_nf4(back), size), back)


@pytest.mark.parametrize("kind", FROZEN_KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_gradient_is_that_of_the_matrix_that_the_codes_stand_for(kind, dtype):
    generator = torch.Generator().manual_seed(0)
    layer = QuantizedLinear(torch.nn.Linear(130, 70).requires_grad_(False), kind)
    x = torch.randn(3, 7, 130, generator=generator).to(dtype).requires_grad_()
    weight, bias = layer.values(), layer.bias.clone()
    layer.bias.data = layer.bias.data.to(dtype)
    y = layer(x)
    upstream = torch.randn(y.shape, generator=generator)
    (got,) = torch.autograd.grad(y, x, upstream.to(dtype))
    plain = x.detach().float().requires_grad_()
    exact = torch.nn.functional.linear(plain, weight, bias)
    (expected,) = torch.autograd.grad(exact, plain, upstream)
    # measured 3e-7 in fp32, 3e-3 in bf16, 4e-4 in fp16
    worst = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 1e-2}[dtype]
    assert (got.float() - expected).norm() < worst * expected.norm()
    assert (y.float() - exact).norm() < worst * exact.norm()
    with torch.no_grad():
        assert torch.equal(layer(x), y)


def test_training_keeps_no_converted_copy_of_a_frozen_matrix():
    layer = QuantizedLinear(torch.nn.Linear(256, 256).requires_grad_(False), "int8")
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        layer(torch.randn(2, 256).requires_grad_())
    assert sum(kept) == 0
