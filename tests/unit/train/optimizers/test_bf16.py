"""AdamW over matrices in bfloat16, whose steps are rounded stochastically."""

import pytest
import torch
from torch import nn

from wanctl.train.loop import train
from wanctl.train.optimizers.bf16 import keep_in_bf16, round_stochastically
from wanctl.train.optimizers.saved_state import optimizer_tensors
from wanctl.train.optimizers.table import make_optimizer

CPU = torch.device("cpu")


@pytest.mark.parametrize("value", [1.001, -3.3333, 1e-30, 0.0, 255.9, 1 - 2**-20])
def test_rounding_is_right_on_average_and_to_a_neighbour(value):
    count = 200_000
    values = torch.full((count,), value)
    rounded = round_stochastically(values.clone(), torch.Generator().manual_seed(1)).float()
    exact = values[0].item()
    down, up = rounded.min().item(), rounded.max().item()
    assert down <= exact <= up
    assert up - down <= abs(exact) * 2**-7
    # five standard errors of a mean of two values
    error = 5 * (up - down) / 2 / count**0.5
    assert abs(rounded.double().mean().item() - exact) <= error + 1e-12 * abs(exact)


def stepped(options, module, steps, gradient):
    optimizer = make_optimizer(module, options)
    for _ in range(steps):
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    return optimizer


def test_small_steps_add_up_as_in_fp32(optimizer_options):
    """40 steps of 1e-4 move no bfloat16 weight of 1 that is rounded to the nearest."""
    settings = {"lr": 1e-4, "weight_decay": 0.0}
    modules = [nn.Linear(100, 100) for _ in range(2)]
    for module in modules:
        nn.init.ones_(module.weight)
    keep_in_bf16(modules[1])
    assert modules[1].bias.dtype == torch.float32
    stepped(optimizer_options(**settings), modules[0], 40, 0.5)
    stepped(optimizer_options(**settings, weights="bf16"), modules[1], 40, 0.5)
    expected, found = (module.weight.detach().double() for module in modules)
    assert expected.mean().item() == pytest.approx(1 - 0.004, abs=1e-5)
    # a weight deviates by up to 0.0028 after 40 roundings, the mean of 10,000 by a 100th of that
    assert found.mean().item() == pytest.approx(expected.mean().item(), abs=1.5e-4)
    assert found.unique().numel() > 1


def test_fp32_parameters_take_the_steps_of_torch(optimizer_options):
    settings = {"lr": 0.01, "weight_decay": 0.1}
    modules = [nn.Linear(8, 8) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    for module, weights in zip(modules, ("fp32", "bf16"), strict=True):
        stepped(optimizer_options(**settings, weights=weights), module, 5, 0.3)
    # measured 1e-7
    torch.testing.assert_close(modules[1].weight, modules[0].weight, rtol=0, atol=3e-6)


def test_a_weight_takes_half_the_memory(optimizer_options):
    sizes = {}
    for weights in ("fp32", "bf16"):
        module = nn.Linear(64, 64, bias=False)
        if weights == "bf16":
            keep_in_bf16(module)
        optimizer = stepped(optimizer_options(weights=weights), module, 1, 0.1)
        moments = [t for t in optimizer_tensors(optimizer, module).values() if t.ndim == 2]
        held = [module.weight, module.weight.grad, *moments]
        sizes[weights] = sum(tensor.nbytes for tensor in held) / module.weight.numel()
    assert sizes == {"fp32": 16, "bf16": 8}


def test_a_step_that_is_not_finite_changes_nothing(optimizer_options):
    module = nn.Linear(4, 4)
    keep_in_bf16(module)
    optimizer = stepped(optimizer_options(weights="bf16"), module, 2, 0.1)
    before = {**module.state_dict(), **optimizer_tensors(optimizer, module)}
    before = {name: value.clone() for name, value in before.items()}
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    after = {**module.state_dict(), **optimizer_tensors(optimizer, module)}
    assert [n for n in after if not torch.equal(after[n], before[n])] == [
        "group/0/calls",
        "group/1/calls",
    ]


@pytest.mark.parametrize("stop_at", [4, 7])
def test_a_run_that_was_stopped_equals_one_that_was_not(
    toy, tmp_path, toy_options, optimizer_options, stop_at
):
    options = toy_options(
        optimizer=optimizer_options(lr=0.02, weights="bf16"), mixed_precision="bf16"
    )
    result = train(toy(), tmp_path / "full", options, device=CPU)
    assert result.loss == result.loss
    with pytest.raises(KeyboardInterrupt):
        train(toy(stop_at=stop_at), tmp_path / "stopped", options, device=CPU)
    resumed = toy()
    train(resumed, tmp_path / "stopped", options, device=CPU)
    assert resumed.module[0].weight.dtype == torch.bfloat16
    for name in ("metrics.jsonl", "checkpoints/step-000012/manifest.json"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
