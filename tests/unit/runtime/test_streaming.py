"""Streamed blocks, with a device that copies as late as it is allowed to."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from wanctl.model.variants import DiTShape
from wanctl.runtime import streaming
from wanctl.runtime.quantize import quantize
from wanctl.runtime.streaming import stream_blocks
from wanctl.train.adapters.attach import AdapterOptions, Target, attach_adapter
from wanctl.train.memory.checkpointing import checkpoint_blocks

SHAPE = DiTShape(
    dim=48, ffn_dim=80, num_layers=5, num_heads=2, in_channels=4, out_channels=4,
    text_dim=24, text_len=8, freq_dim=16,
)  # fmt: skip
CPU = torch.device("cpu")


class LateTransfer:
    """Copies only when they are waited for, and spoils a slot until then: no order is luck."""

    def __init__(self):
        self.pending = {}
        self.read = set()
        self.buffers = []
        self.hosts = []
        self.sent_bytes = 0

    def host_bytes(self, size):
        self.hosts.append(size)
        return torch.empty(size, dtype=torch.uint8)

    def device_bytes(self, size):
        self.buffers.append(torch.full((size,), 255, dtype=torch.uint8))  # NaN in every format
        return self.buffers[-1]

    def send(self, slot, host, device):
        assert slot not in self.read
        self.buffers[slot].fill_(255)
        self.pending[slot] = host, device
        self.sent_bytes += host.numel()

    def wait(self, slot):
        if slot in self.pending:
            host, device = self.pending.pop(slot)
            device.copy_(host)
        self.read.add(slot)

    def release(self, slot):
        self.read.remove(slot)


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, 4, 2, 4, 6, generator=generator)
    return latents, torch.tensor([700.0]), torch.randn(1, 8, 24, generator=generator)


@pytest.mark.parametrize("slots", [2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_outputs_are_bit_equal_step_after_step(random_dit, layers, slots):
    shape = replace(SHAPE, num_layers=layers)
    resident, streamed = random_dit(shape), random_dit(shape)
    transfer = LateTransfer()
    stream_blocks(streamed, CPU, transfer, slots)
    with torch.no_grad():
        for seed in (1, 2, 3):
            assert torch.equal(streamed(*inputs(seed)), resident(*inputs(seed)))
    assert len(transfer.buffers) == slots


def test_control_blocks_and_their_projections(random_dit):
    shape = replace(SHAPE, vace_layers=(0, 2), vace_channels=6)
    control = torch.randn(1, 6, 2, 4, 6)
    resident, streamed = random_dit(shape), stream_blocks(random_dit(shape), CPU, LateTransfer())
    with torch.no_grad():
        for _ in range(2):
            expected = resident(*inputs(), control_BCTYX=control)
            assert torch.equal(streamed(*inputs(), control_BCTYX=control), expected)


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_other_number_formats_pass_through(random_dit, kind):
    def make():
        model = random_dit(SHAPE)
        return model.cast(torch.bfloat16) if kind == "bf16" else quantize(model, kind)

    resident, streamed = make(), stream_blocks(make(), CPU, LateTransfer())
    with torch.no_grad():
        assert torch.equal(streamed(*inputs()), resident(*inputs()))


def test_a_call_that_was_cut_off_leaves_the_next_one_right(random_dit):
    resident, streamed = random_dit(SHAPE), stream_blocks(random_dit(SHAPE), CPU, LateTransfer())
    hook = streamed.blocks[2].ffn[2].register_forward_pre_hook(lambda *_: 1 / 0)
    with torch.no_grad():
        with pytest.raises(ZeroDivisionError):
            streamed(*inputs())
        hook.remove()
        assert torch.equal(streamed(*inputs()), resident(*inputs()))


def test_each_step_copies_each_block_once(random_dit):
    transfer = LateTransfer()
    streamed = stream_blocks(random_dit(SHAPE), CPU, transfer)
    with torch.no_grad():
        streamed(*inputs())
        first = transfer.sent_bytes
        streamed(*inputs())
    block = sum(-(-p.nbytes // 256) * 256 for p in streamed.blocks[0].parameters())
    assert transfer.sent_bytes - first == SHAPE.num_layers * block


@pytest.mark.parametrize(
    ("sizes", "worst"),
    [
        ([702_900_000] * 40, 1.04),  # 14B in bf16
        ([351_600_000] * 40, 1.04),  # in 8 bits
        ([94_400_000] * 30, 1.1),  # 1.3B in bf16
        ([702_900_000] * 8 + [808_000_000] * 40, 1.08),  # blocks of two sizes
        ([5 * 2**30] * 3, 1.61),  # larger than what is allocated at once
    ],
)
def test_pinned_memory_is_little_more_than_the_blocks(sizes, worst):
    """torch rounds each allocation up to a power of two."""
    requested, first = [], 0
    while first < len(sizes):
        count = streaming._blocks_per_allocation(sizes[first:])
        requested.append(sum(sizes[first : first + count]))
        first += count
    taken = [1 << (size - 1).bit_length() for size in requested]
    assert first == len(sizes)
    assert sum(taken) <= worst * sum(sizes)
    assert all(size <= max(streaming.LARGEST_BYTES, 8 * 2**30) for size in taken)


def test_blocks_share_an_allocation_and_no_byte_of_it(random_dit):
    shape = replace(SHAPE, ffn_dim=144, num_layers=7)  # a block is a little over 128 KiB
    transfer = LateTransfer()
    model = stream_blocks(random_dit(shape), CPU, transfer)
    with torch.no_grad():
        assert torch.equal(model(*inputs()), random_dit(shape)(*inputs()))
    blocks = [list(block.parameters()) for block in model.blocks]
    spans = sorted((p.data_ptr(), p.data_ptr() + p.nbytes) for each in blocks for p in each)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    storages = {p.untyped_storage().data_ptr() for each in blocks for p in each}
    assert len(storages) == len(transfer.hosts) < len(blocks)


def test_a_model_created_and_run_without_autograd(random_dit):
    """As sampling does it."""
    expected = random_dit(SHAPE)
    with torch.inference_mode():
        streamed = stream_blocks(random_dit(SHAPE), CPU, LateTransfer())
        assert torch.equal(streamed(*inputs()), expected(*inputs()))


@pytest.mark.parametrize(
    ("layers", "slots", "mode"),
    [(1, 2, "full"), (2, 2, "full"), (5, 2, "selective"), (5, 3, "full")],
)
def test_gradients_of_an_adapter_on_a_streamed_base(random_dit, layers, slots, mode):
    """Bit-equal, step after step, with evaluations and an interrupted step between."""
    shape = replace(SHAPE, num_layers=layers, vace_layers=(0,), vace_channels=6)
    resident, streamed = (adapted(random_dit(shape)) for _ in range(2))
    transfer = LateTransfer()
    stream_blocks(streamed, CPU, transfer, slots, trained=True)
    checkpoint_blocks(streamed, mode)
    for seed in (1, 2, 3):
        expected, found = gradients(resident, seed), gradients(streamed, seed)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        if seed == 1:
            velocity(streamed, seed)  # no backward pass follows
        if seed == 2:
            with torch.no_grad():
                model = streamed.eval()
                assert torch.equal(velocity(model, 4), velocity(resident.eval(), 4))
    base = random_dit(shape).state_dict()
    for name, tensor in streamed.state_dict().items():
        if (plain := name.replace(".base.", ".")) in base:
            assert torch.equal(tensor, base[plain]), name


def adapted(model):
    target = Target("blocks.*", 4, 8.0)
    attach_adapter(model, AdapterOptions("lora", (target,), dropout=0.0, seed=0))
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model


def velocity(model, seed):
    return model(*inputs(seed), control_BCTYX=torch.ones(1, 6, 2, 4, 6))


def gradients(model, seed):
    model.train().zero_grad()
    velocity(model, seed).square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
