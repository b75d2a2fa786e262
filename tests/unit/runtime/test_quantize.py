"""8-bit weights: how far they move a velocity, and what they weigh."""

import pytest
import torch

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.runtime.quantize import QuantizedLinear, check_device, quantize

SHAPE = DiTShape(
    dim=96, ffn_dim=256, num_layers=3, num_heads=4, in_channels=4, out_channels=4,
    text_dim=24, text_len=8, freq_dim=16,
)  # fmt: skip


def inputs():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 3, 6, 8, generator=generator)
    return latents, torch.tensor([700.0]), torch.randn(1, 8, 24, generator=generator)


# Measured on the random model: 0.5 % and 2.4 % of the velocity's size.
@pytest.mark.parametrize(("kind", "worst"), [("int8", 0.01), ("fp8", 0.04)])
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


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loading_in_8_bits_equals_loading_and_then_quantizing(random_dit, tmp_path, kind, dtype):
    save_dit(random_dit(SHAPE).cast(dtype), tmp_path)
    loaded = load_dit(tmp_path, dtype=dtype, quantize_to=kind)
    expected = quantize(load_dit(tmp_path, dtype=dtype), kind)
    plain = {n: t.shape for n, t in load_dit(tmp_path).state_dict().items()}
    state = loaded.state_dict()
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
