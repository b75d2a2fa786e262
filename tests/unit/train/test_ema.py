import contextlib

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from wanctl.train.networks.ema import EMA, ema_decay

APPLIED, SKIPPED = torch.tensor(True), torch.tensor(False)


def test_decay_warms_up_to_its_bound():
    def decay(n):
        return ema_decay(torch.tensor(n, dtype=torch.float64), 0.9).item()

    assert [decay(n) for n in (0, 1, 8)] == [0.1, 2 / 11, 0.5]
    assert decay(1000) == 0.9


def test_average_is_the_weighted_sum_of_the_weights():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module, 0.3)
    expected = 0.0
    for n, value in enumerate((1.0, 4.0, -2.0)):
        nn.init.constant_(module.weight, value)
        ema.update(module, APPLIED)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert ema.shadow["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_swapping_gives_the_weights_back_even_after_an_error():
    module = nn.Linear(2, 2).to(torch.bfloat16)
    own = module.weight.detach().clone()
    ema = EMA(module, 0.9)
    ema.shadow["weight"].fill_(7.0)
    with contextlib.suppress(RuntimeError), ema.swapped(module):
        assert module.weight[0, 0].item() == 7.0
        raise RuntimeError
    assert torch.equal(module.weight, own)
    assert ema.shadow["weight"].dtype == torch.float32
    assert ema.shadow["weight"].eq(7.0).all()


class NewTensors(TorchDispatchMode):
    """Counts bytes of tensors that are made and not part of an argument."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in known:
                self.bytes += each.nbytes
        return made


def test_swapping_takes_no_memory():
    """Before, all weights were cloned: a run met its largest peak at the first evaluation."""
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    own = [p.detach().clone() for p in module.parameters()]
    ema = EMA(module, 0.9)
    for average in ema.shadow.values():
        average.add_(1.0)
    with NewTensors() as made, ema.swapped(module):
        inside = [p.detach() for p in module.parameters()]
    assert made.bytes == 0
    assert all(torch.equal(a, b + 1.0) for a, b in zip(inside, own, strict=True))
    assert all(map(torch.equal, module.parameters(), own))
    assert all(map(torch.equal, ema.shadow.values(), inside))


def test_zero_decay_keeps_no_second_copy():
    module = nn.Linear(2, 2)
    ema = EMA(module, 0)
    ema.update(module, APPLIED)
    assert not ema.shadow
    with ema.swapped(module):
        pass


def test_updates_have_the_bits_of_the_same_average_in_python_numbers():
    torch.manual_seed(0)
    module = nn.Linear(37, 19)
    expected = {name: p.detach().clone() for name, p in module.named_parameters()}
    ema = EMA(module, 0.9)
    for n in range(120):
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        ema.update(module, APPLIED)
        share = 1.0 - min(0.9, (1 + n) / (10 + n))
        weights = [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(list(expected.values()), weights, share)
    assert all(torch.equal(ema.shadow[name], average) for name, average in expected.items())


def test_a_skipped_step_changes_neither_the_averages_nor_their_count():
    module = nn.Linear(3, 2)
    ema = EMA(module, 0.9)
    before = {name: average.clone() for name, average in ema.shadow.items()}
    nn.init.ones_(module.weight)
    ema.update(module, SKIPPED)
    assert all(torch.equal(ema.shadow[name], average) for name, average in before.items())
    assert ema.updates.item() == 0
    ema.update(module, APPLIED)
    assert ema.updates.item() == 1
    assert not torch.equal(ema.shadow["weight"], before["weight"])
