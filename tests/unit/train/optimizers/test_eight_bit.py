"""AdamW with moments of 8 bits, where torchao is installed."""

import importlib.util

import pytest
import torch
from torch import nn

from wanctl.train.optimizers.saved_state import optimizer_tensors
from wanctl.train.optimizers.table import OptimizerError, make_optimizer

# of a docstring of torchao, the first time that it is compiled to bytecode
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="torchao is not installed"
)


def fitted(options):
    """Losses of a network of 16,000 weights on a fixed function, and its optimizer's state."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64))
    target = nn.Linear(64, 64)
    optimizer = make_optimizer(module, options)
    losses = []
    for step in range(100):
        x = torch.randn(32, 64, generator=torch.Generator().manual_seed(step))
        loss = (module(x) - target(x).detach()).pow(2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses, optimizer_tensors(optimizer, module)


@needs_torchao
def test_it_learns_as_adamw_does_with_a_third_of_the_state(optimizer_options):
    losses, state = fitted(optimizer_options(lr=3e-3))
    eight_bit, small = fitted(optimizer_options(lr=3e-3, name="adamw8bit"))
    assert losses[-1] < 0.5 * losses[0]
    differences = [abs(a / b - 1) for a, b in zip(eight_bit, losses, strict=True)]
    assert 0 < max(differences) < 0.1  # measured 0.005
    sizes = [sum(tensor.nbytes for tensor in tensors.values()) for tensors in (state, small)]
    assert sizes[1] < sizes[0] / 3


def test_without_torchao_one_line_says_what_to_install(monkeypatch, optimizer_options):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OptimizerError, match=r"adamw8bit needs torchao, .* `pip install torchao`"):
        make_optimizer(nn.Linear(2, 2), optimizer_options(name="adamw8bit"))
