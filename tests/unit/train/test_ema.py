import contextlib

import pytest
import torch
from torch import nn

from wanctl.train.ema import EMA, ema_decay


def test_decay_warms_up_to_its_bound():
    assert [ema_decay(n, 0.9) for n in (0, 1, 8)] == [0.1, 2 / 11, 0.5]
    assert ema_decay(1000, 0.9) == 0.9


def test_average_is_the_weighted_sum_of_the_weights():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module, 0.3)
    expected = 0.0
    for n, value in enumerate((1.0, 4.0, -2.0)):
        nn.init.constant_(module.weight, value)
        ema.update(module, n)
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


def test_zero_decay_keeps_no_second_copy():
    module = nn.Linear(2, 2)
    ema = EMA(module, 0)
    ema.update(module, 0)
    assert not ema.shadow
    with ema.swapped(module):
        pass
