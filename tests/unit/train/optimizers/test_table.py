"""Every optimizer: it learns, a checkpoint continues it, a bad step changes nothing."""

import importlib.util
import re

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.train.loop import train
from wanctl.train.optimizers.saved_state import (
    evaluation_weights,
    load_optimizer_tensors,
    optimizer_tensors,
)
from wanctl.train.optimizers.schedule import set_learning_rate
from wanctl.train.optimizers.table import OPTIMIZERS, OptimizerError, make_optimizer

# of a docstring of torchao, the first time that it is compiled to bytecode
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")
RATES = {"adafactor": 0.1, "prodigy": 1.0, "schedulefree": 0.05, "muon": 0.02}


class Net(nn.Module):
    """A kernel, a matrix, a scale and biases; `unused` never has a gradient."""

    def __init__(self):
        super().__init__()
        # 9,216 values: smaller moments are not kept in 8 bits
        self.kernel = nn.Conv3d(8, 64, (2, 3, 3), padding=(1, 1, 1))
        self.norm = nn.GroupNorm(2, 64)
        self.out = nn.Linear(64, 8)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.out(self.norm(self.kernel(x)).mean((2, 3, 4)))


class Run:
    """A network, its optimizer and batches keyed by the step."""

    def __init__(self, options, model=None, state=None):
        torch.manual_seed(0)
        self.module = Net()
        self.optimizer = make_optimizer(self.module, options)
        self.lr = options.lr
        if model is not None:
            self.module.load_state_dict(model)
            load_optimizer_tensors(self.optimizer, self.module, state)

    def steps(self, first, last, poison=()):
        losses = []
        for step in range(first, last):
            x = torch.randn(4, 8, 2, 4, 4, generator=torch.Generator().manual_seed(step))
            set_learning_rate(self.optimizer, self.lr * min(1, (step + 1) / 4))
            loss = (self.module(x) - x.mean((2, 3, 4)) * 4).pow(2).mean()
            losses.append(loss.item())
            (loss * float("nan") if step in poison else loss).backward()
            self.optimizer.found_inf = torch.tensor(float(step in poison))
            self.optimizer.step()
            self.optimizer.zero_grad()
        return losses

    def tensors(self):
        model = {name: value.clone() for name, value in self.module.state_dict().items()}
        state = optimizer_tensors(self.optimizer, self.module)
        return model, {name: value.clone() for name, value in state.items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# those of libraries that are not installed are left out; test_eight_bit.py says so
INSTALLED = sorted(
    name
    for name, row in OPTIMIZERS.items()
    if row.module is None or importlib.util.find_spec(row.module) is not None
)


@pytest.fixture(params=INSTALLED)
def options(request, optimizer_options):
    rate = RATES.get(request.param, 0.02)
    return optimizer_options(name=request.param, lr=rate, weight_decay=0.01)


def test_the_loss_falls(options):
    losses = Run(options).steps(0, 150)
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def test_a_checkpoint_in_the_middle_changes_no_bit(options):
    straight = Run(options)
    straight.steps(0, 9)
    first = Run(options)
    first.steps(0, 5)
    second = Run(options, *first.tensors())
    second.steps(5, 9)
    for a, b in zip(straight.tensors(), second.tensors(), strict=True):
        assert equal(a, b)


def test_a_run_that_was_stopped_equals_one_that_was_not(options, toy, loop_options, tmp_path):
    settings = loop_options(
        steps=8, optimizer=options, ema_decay=0.0, log_every=2, eval_every=3, checkpoint_every=4
    )
    train(toy(), tmp_path / "straight", settings, device=torch.device("cpu"))
    with pytest.raises(KeyboardInterrupt):
        train(toy(stop_at=4), tmp_path / "stopped", settings, device=torch.device("cpu"))
    train(toy(), tmp_path / "stopped", settings, device=torch.device("cpu"))
    for name in ("metrics.jsonl", "checkpoints/step-000008/manifest.json"):
        straight, stopped = (tmp_path / run / name for run in ("straight", "stopped"))
        assert straight.read_bytes() == stopped.read_bytes()  # the manifest holds checksums


@pytest.mark.parametrize("bad", [0, 6])
def test_a_step_that_is_not_finite_changes_nothing(options, bad):
    run = Run(options)
    run.steps(0, bad)
    before = run.tensors()
    run.steps(bad, bad + 1, poison={bad})
    model, state = run.tensors()
    assert equal(model, before[0])
    fresh = {k: v for k, v in state.items() if k not in before[1]}
    assert not any(value.any() for value in fresh.values())  # moments of zero
    assert equal({k: state[k] for k in before[1]}, before[1])
    losses = run.steps(bad + 1, bad + 3)
    assert losses[-1] == losses[-1]


class HostReads(TorchDispatchMode):
    """Counts reads of tensors by the host: each would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_reads_nothing_from_the_device(optimizer_options, name):
    run = Run(optimizer_options(name=name))
    run.steps(0, 1)
    for poisoned in (0.0, 1.0):
        for parameter in run.module.parameters():
            parameter.grad = torch.ones_like(parameter)
        run.optimizer.found_inf = torch.tensor(poisoned)
        with HostReads() as reads:
            run.optimizer.step()
        assert reads.count == 0


def test_evaluation_leaves_the_run_as_it_was(options):
    run = Run(options)
    run.steps(0, 6)
    before = run.tensors()
    with evaluation_weights(run.optimizer):
        inside = run.tensors()[0]
    after = run.tensors()
    assert equal(before[0], after[0])
    assert equal(before[1], after[1])
    assert equal(inside, before[0]) != OPTIMIZERS[options.name].averages
    run.steps(6, 7)


def test_the_recipe_explains_the_learning_rate_of_each(options):
    fields = OptimizerSection.model_fields
    for key in ("name", "lr"):
        assert options.name in re.findall(r"\w+", fields[key].description)


def test_frozen_parameters_are_left_out(options):
    run = Run(options)
    run.module.kernel.requires_grad_(False)
    optimizer = make_optimizer(run.module, options)
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert owned == {id(p) for p in run.module.parameters() if p.requires_grad}


def test_the_state_of_another_optimizer_is_refused_in_one_line(optimizer_options):
    first = Run(optimizer_options(name="muon"))
    first.steps(0, 2)
    with pytest.raises(OptimizerError, match=r"got adamw, but .* had muon; .*--out") as error:
        Run(optimizer_options(), *first.tensors())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "line"), [("moun", "did you mean 'muon'"), ("prodigy", "pip install prodigyopt")]
)
def test_an_optimizer_that_is_not_there_is_named(monkeypatch, optimizer_options, name, line):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OptimizerError, match=line):
        make_optimizer(nn.Linear(2, 2), optimizer_options(name=name))
