"""Training steps that recompute, offload and stream on a GPU: gradients and memory."""

import pytest
import torch

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.attach import AdapterOptions, Target, attach_adapter
from wanctl.train.memory.apply import save_memory
from wanctl.train.memory.host import copies_for
from wanctl.train.memory.optimizer import offload_optimizer
from wanctl.train.memory.options import MemoryOptions

# What drivers and compilers of other releases warn of is no failure.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

SHAPE = DiTShape(dim=512, ffn_dim=2048, num_layers=6, num_heads=4, text_dim=64, text_len=64)
DEVICE = torch.device("cuda", 0)
SETTINGS = {
    "pointwise": MemoryOptions("pointwise", 1, False, False, False),
    "selective": MemoryOptions("selective", 1, False, False, False),
    "full": MemoryOptions("full", 1, False, False, False),
    "every second": MemoryOptions("full", 2, False, False, False),
    "offloaded": MemoryOptions("none", 1, True, False, False),
    "offloaded inputs": MemoryOptions("full", 1, True, False, False),
    "streamed": MemoryOptions("full", 1, False, False, True),
    "streamed and offloaded": MemoryOptions("selective", 1, True, False, True),
}


def adapted(options: MemoryOptions) -> WanModel:
    """A frozen bf16 base with an adapter, set up as a run does it."""
    torch.manual_seed(0)
    model = WanModel(SHAPE)
    torch.nn.init.normal_(model.head.head.weight, std=0.05)
    target = Target("blocks.*", 8, 8.0)
    attach_adapter(model, AdapterOptions("lora", (target,), dropout=0.0, seed=0))
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, std=0.02)
    save_memory({"model": model}, options, DEVICE)
    return (model if model.streamed else model.to(DEVICE)).train()


def gradients(model: WanModel) -> tuple[dict[str, torch.Tensor], int]:
    """Of one batch under bf16 autocast, and the peak of the device's memory above the weights."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 5, 32, 32, generator=generator).to(DEVICE)
    context = torch.randn(1, 64, 64, generator=generator).to(DEVICE)
    model.zero_grad()
    torch.cuda.synchronize(DEVICE)
    held = torch.cuda.memory_allocated(DEVICE)
    torch.cuda.reset_peak_memory_stats(DEVICE)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        velocity = model(latents, torch.tensor([700.0], device=DEVICE), context)
    velocity.square().mean().backward()
    torch.cuda.synchronize(DEVICE)
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return found, torch.cuda.max_memory_allocated(DEVICE) - held


@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_are_those_of_a_plain_step_in_less_memory(name):
    """Kernels of attention add up in an order of their own, hence no equal bits."""
    expected, plain_peak = gradients(adapted(MemoryOptions("none", 1, False, False, False)))
    model = adapted(SETTINGS[name])
    for _ in range(3):
        found, peak = gradients(model)
        assert found.keys() == expected.keys()
        for key, gradient in expected.items():
            distance = (found[key] - gradient).norm() / gradient.norm()
            assert distance < 0.02, key
        assert peak < plain_peak


def test_an_offloaded_optimizer_steps_alike():
    ends = []
    for offloads in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(8))).to(DEVICE)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        if offloads:
            offload_optimizer(optimizer, copies_for(DEVICE), at_once=100_000)
        for _ in range(4):
            model(torch.ones(4, 256, device=DEVICE)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        if offloads:
            moments = [state["exp_avg"] for state in optimizer.state.values()]
            assert all(moment.is_pinned() for moment in moments if moment.ndim > 1)
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))
