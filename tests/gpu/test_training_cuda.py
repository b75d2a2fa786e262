"""What training does on a GPU alone: memory there and on the host."""

import torch
from torch import nn

from wanctl.train.networks.ema import EMA


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
