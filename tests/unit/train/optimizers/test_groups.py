import pytest
import torch
from torch import nn

from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.train.optimizers.groups import decays
from wanctl.train.optimizers.saved_state import load_optimizer_tensors, optimizer_tensors
from wanctl.train.optimizers.schedule import DECAYS, learning_rate, set_learning_rate
from wanctl.train.optimizers.table import OptimizerError, make_optimizer


def test_warm_up_rises_in_equal_steps_then_stays(optimizer_options):
    options = optimizer_options(lr=1.0, warmup_steps=4)
    rates = [learning_rate(options, step, 10) for step in range(10)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_cosine_starts_at_the_peak_and_ends_at_five_percent(optimizer_options):
    options = optimizer_options(lr=1.0, warmup_steps=2, decay="cosine")
    rates = [learning_rate(options, step, 12) for step in range(12)]
    assert rates[2] == 1.0
    assert rates[-1] == pytest.approx(0.05)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[6] == pytest.approx(0.05 + 0.95 * 0.5 * (1 + 0.17364818), rel=1e-6)


def test_linear_falls_in_equal_steps_to_its_final_share(optimizer_options):
    options = optimizer_options(lr=2.0, warmup_steps=1, decay="linear", final_share=0.25)
    rates = [learning_rate(options, step, 5) for step in range(5)]
    assert rates == pytest.approx([2.0, 2.0, 1.5, 1.0, 0.5])


def test_every_decay_of_the_recipe_is_there():
    names = OptimizerSection.model_fields["decay"].annotation.__args__
    assert set(names) == set(DECAYS)


def test_a_run_of_only_warm_up_is_fine(optimizer_options):
    options = optimizer_options(lr=1.0, warmup_steps=10, decay="cosine")
    assert learning_rate(options, 4, 5) == 0.5


def test_only_matrices_and_kernels_decay():
    shape = DiTShape(dim=48, ffn_dim=32, num_layers=1, num_heads=2, text_dim=8, text_len=4)
    plain = {n for n, p in WanModel(shape).named_parameters() if not decays(n, p)}
    assert all(n.endswith(("bias", "modulation")) or "norm" in n for n in plain)
    assert "blocks.0.modulation" in plain
    assert "blocks.0.self_attn.norm_q.weight" in plain
    vae = WanVAE(VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1))
    plain = {n for n, p in vae.named_parameters() if not decays(n, p)}
    assert plain == {n for n, _ in vae.named_parameters() if n.endswith(("bias", "gamma"))}


def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none(optimizer_options):
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    groups = make_optimizer(module, optimizer_options(weight_decay=0.1)).param_groups
    assert [len(group["params"]) for group in groups] == [1, 3]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


def small():
    return nn.ModuleDict(
        {"text": nn.Linear(4, 4), "norm": nn.LayerNorm(4), "head": nn.Linear(4, 4)}
    )


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_groups_have_their_own_rate_and_weight_decay(optimizer_options, name):
    """The first group that matches a parameter has it; others keep rate and decay."""
    groups = [
        {"match": "text.*", "lr_factor": 0.25},
        {"match": "norm.*", "weight_decay": 0.5},
        {"match": "*.weight", "lr_factor": 8, "weight_decay": 0.125},
    ]
    module = small()
    optimizer = make_optimizer(
        module, optimizer_options(name=name, weight_decay=0.1, groups=groups)
    )
    set_learning_rate(optimizer, 0.01)
    names = {id(p): n for n, p in module.named_parameters()}
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found == {
        "text.weight": (0.0025, 0.1), "text.bias": (0.0025, 0.0), "norm.weight": (0.01, 0.5),
        "norm.bias": (0.01, 0.5), "head.weight": (0.08, 0.125), "head.bias": (0.01, 0.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("match", "line"),
    [
        (["lora_B"], r"groups.0.match: .* matches 'lora_B'; trained .* e.g. text.weight, no"),
        (["*.weight", "head.w*"], r"groups.1.match: .*'head.w\*'; groups before it have all of"),
    ],
)
def test_a_group_without_parameters_is_named_in_one_line(optimizer_options, match, line):
    groups = [{"match": each, "lr_factor": 2} for each in match]
    with pytest.raises(OptimizerError, match=line) as error:
        make_optimizer(small(), optimizer_options(groups=groups))
    assert "\n" not in str(error.value)


def test_state_travels_by_parameter_name(optimizer_options):
    def trained(steps, state=None, start=None):
        torch.manual_seed(0)
        module = nn.Linear(3, 2)
        if start is not None:
            module.load_state_dict(start)
        optimizer = make_optimizer(module, optimizer_options(lr=0.1))
        if state is not None:
            load_optimizer_tensors(optimizer, module, state)
        for _ in range(steps):
            optimizer.zero_grad()
            module(torch.ones(1, 3)).pow(2).sum().backward()
            optimizer.step()
        return module, optimizer_tensors(optimizer, module)

    module, state = trained(3)
    assert state.keys() == {
        f"{moment}/{name}" for moment in ("step", "exp_avg", "exp_avg_sq")
        for name in ("weight", "bias")
    }  # fmt: skip
    continued, _ = trained(2, state, module.state_dict())
    uninterrupted, _ = trained(5)
    assert torch.equal(continued.weight, uninterrupted.weight)
