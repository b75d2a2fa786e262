import pytest
import torch
from torch import nn

from wanctl.train.optimizers.muon import Muon, orthogonalise, step_scale
from wanctl.train.optimizers.schedule import set_learning_rate
from wanctl.train.optimizers.table import make_optimizer


def gradients(shape, count):
    return [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def trained(make, parameter, steps):
    optimizer = make(parameter)
    for gradient in steps:
        parameter.grad = gradient.view_as(parameter).clone()
        optimizer.step()
    return parameter.detach()


def ours(**settings):
    settings = {"lr": 0.02, "momentum": 0.95, "betas": (0.9, 0.999), **settings}
    return lambda p: Muon([{"params": [p], "weight_decay": 0.1}], [], **settings)


def of_torch(parameter):
    return torch.optim.Muon([parameter], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    matrix = gradients(shape, 1)[0]
    result = orthogonalise(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = (u.T @ result @ v.T).diagonal()
    assert 0.6 < values.min() < values.max() < 1.25
    off = u.T @ result @ v.T - values.diag()
    assert off.abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (1, 9)])
def test_matrices_take_the_steps_of_torch(monkeypatch, shape):
    # torch computes in bfloat16 everywhere, which on CPUs is not faster
    module = "wanctl.train.optimizers.muon"
    whole = orthogonalise
    monkeypatch.setattr(f"{module}.orthogonalise", lambda x: whole(x.bfloat16()).float())
    start, steps = torch.ones(shape), gradients(shape, 5)
    a = trained(ours(), nn.Parameter(start.clone()), steps)
    b = trained(of_torch, nn.Parameter(start.clone()), steps)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # measured 0
    assert (a - start).abs().max() > 0.01


def test_float32_products_stay_close_to_the_bfloat16_ones_of_torch():
    start, steps = torch.ones(12, 40), gradients((12, 40), 5)
    a = trained(ours(), nn.Parameter(start.clone()), steps)
    b = trained(of_torch, nn.Parameter(start.clone()), steps)
    assert (a - b).norm() < 0.1 * (b - start).norm()  # measured 0.008


def test_a_kernel_is_the_matrix_of_its_convolution():
    start, steps = torch.ones(8, 4 * 27), gradients((8, 4 * 27), 4)
    kernel = trained(ours(), nn.Parameter(start.view(8, 4, 3, 3, 3).clone()), steps)
    matrix = trained(ours(), nn.Parameter(start.clone()), steps)
    assert torch.equal(kernel.flatten(1), matrix)


@pytest.mark.parametrize("shape", [(64, 64), (16, 432), (432, 16)])
def test_a_step_is_as_large_as_one_of_adamw(shape):
    update = orthogonalise(gradients(shape, 1)[0]) * step_scale(*shape)
    assert update.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)


def test_norms_and_biases_go_to_adamw_with_their_own_rate(optimizer_options):
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4))
    options = optimizer_options(name="muon", lr=0.01, adamw_lr=0.002, betas=(0.8, 0.9))
    optimizer = make_optimizer(module, options)
    set_learning_rate(optimizer, 0.005)  # half of the peak
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = gradients(parameter.shape, 1)[0]
    optimizer.step()
    moved = {name: (p - before[name]).abs().max() for name, p in module.named_parameters()}
    rest = [moved[name].item() for name in ("0.bias", "1.weight", "1.bias")]
    assert rest == pytest.approx([0.001] * 3, rel=1e-3)  # fp32 weights near 1: 1e-5
    assert moved["0.weight"] > 0.0012  # 0.2 * 0.005 is its root mean square
