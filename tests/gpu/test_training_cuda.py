"""What training does on a GPU alone: memory there and on the host."""

import operator

import torch
from torch import nn

from wanctl.train.networks.ema import EMA
from wanctl.train.networks.residency import Residency


def test_averages_on_the_host_take_gpu_memory_for_one_tensor_at_a_time():
    layers = [nn.Linear(512, 512, bias=False, device="cuda") for _ in range(8)]
    module, one = nn.Sequential(*layers), layers[0].weight.nbytes
    own = [p.detach().clone() for p in module.parameters()]
    before = torch.cuda.memory_allocated()
    ema = EMA(module, 0.9, torch.device("cpu"))
    ema.update(module, torch.tensor(True, device="cuda"))
    for average in ema.shadow.values():
        average.add_(1.0)
    torch.cuda.reset_peak_memory_stats()
    with ema.swapped(module):
        inside = [p.detach().clone() for p in module.parameters()]
        assert torch.cuda.max_memory_allocated() - before < 10 * one  # 8 are the clones here
    assert all(torch.equal(a, b + 1.0) for a, b in zip(inside, own, strict=True))
    assert all(map(torch.equal, module.parameters(), own))
    assert all(average.device.type == "cpu" for average in ema.shadow.values())


def test_an_idle_network_leaves_the_gpu_with_its_optimizer_and_averages():
    module = nn.Sequential(*(nn.Linear(512, 512, device="cuda") for _ in range(8)))
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    ema = EMA(module, 0.9)
    residency = Residency(module, optimizer, ema, torch.device("cuda"))
    parameters = list(module.parameters())

    def learn():
        module(torch.ones(1, 512, device="cuda")).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    learn()
    used = torch.cuda.memory_allocated()
    weights = sum(parameter.nbytes for parameter in parameters)
    residency.to_host()
    assert used - torch.cuda.memory_allocated() > 3.9 * weights  # weights, moments, averages
    assert all(map(operator.is_, module.parameters(), parameters))
    residency.to_device()
    learn()
    assert {state["step"].item() for state in optimizer.state.values()} == {2}
    assert torch.cuda.memory_allocated() >= used
