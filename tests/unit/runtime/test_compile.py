"""Compiled blocks: one graph for all of them, whatever was done to their weights.

Were each block to get a graph of its own, a step would take as many half minutes as the model has
blocks, and after eight of them torch would stop compiling without an error.
"""

import shutil

import pytest
import torch

from wanctl.checkpoint.lora.deltas import LowRankDelta
from wanctl.checkpoint.lora.linear import LoraLinear
from wanctl.model.variants import DiTShape
from wanctl.runtime.quantize import quantize
from wanctl.runtime.streaming import stream_blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs g++ on the CPU"),
]

SHAPE = DiTShape(
    dim=48, ffn_dim=80, num_layers=4, num_heads=2, in_channels=4, out_channels=4,
    text_dim=24, text_len=8, freq_dim=16,
)  # fmt: skip
CPU = torch.device("cpu")


class PlainTransfer:
    """Copies at once."""

    def host_bytes(self, size):
        return torch.empty(size, dtype=torch.uint8)

    device_bytes = host_bytes

    def send(self, slot, host, device):
        device.copy_(host)

    def wait(self, slot):
        pass

    release = wait


def quantized(model):
    return quantize(model, "int8")


def streamed(model):
    return stream_blocks(model, CPU, PlainTransfer())


def with_loras(model):
    generator = torch.Generator().manual_seed(3)
    for block in quantize(model, "int8").blocks:
        down, up = torch.randn(2, 2, 48, generator=generator)
        delta = LowRankDelta(down, up.T, 0.1)
        block.self_attn.q = LoraLinear(block.self_attn.q, [(1.0, delta)])
    return model


@pytest.fixture(autouse=True)
def _forget_graphs():
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch):
    """Counts how often something is compiled."""
    from torch._dynamo.testing import CompileCounterWithBackend  # 8 s, which no other test pays

    counter = CompileCounterWithBackend("inductor")
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: compile_(f, backend=counter))
    return counter


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, 4, 2, 4, 6, generator=generator)
    return latents, torch.tensor([700.0]), torch.randn(1, 8, 24, generator=generator)


@pytest.mark.parametrize("prepare", [lambda model: model, streamed, quantized, with_loras])
def test_one_graph_serves_all_blocks(random_dit, graphs, prepare):
    plain, compiled = prepare(random_dit(SHAPE)), prepare(random_dit(SHAPE)).compile_blocks()
    with torch.inference_mode():
        for seed in (1, 2):
            expected = plain(*inputs(seed))
            # Measured 4e-7 of velocities up to 3; sums are taken in another order.
            torch.testing.assert_close(compiled(*inputs(seed)), expected, atol=1e-5, rtol=0)
    assert graphs.frame_count == 1
