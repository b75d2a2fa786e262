"""LoRA, rsLoRA and DoRA on a transformer: what they compute, and what is refused."""

import math

import pytest
import torch

from wanctl.errors import ProblemsError
from wanctl.model.variants import DiTShape
from wanctl.runtime.quantize import FROZEN_KINDS, quantize
from wanctl.train.adapters.attach import (
    AdapterOptions,
    Target,
    adapter_layers,
    adapter_strength,
    attach_adapter,
)
from wanctl.train.optimizers.patterns import matches

SHAPE = DiTShape(
    dim=32, ffn_dim=64, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=12, text_len=6, freq_dim=16, image_dim=20,
)  # fmt: skip
KINDS = ("lora", "rslora", "dora")
BLOCKS = ("blocks.*.self_attn", "blocks.*.cross_attn", "blocks.*.ffn")


def options(kind="lora", *patterns, rank=4, alpha=8.0, dropout=0.0):
    targets = tuple(Target(pattern, rank, alpha) for pattern in patterns or BLOCKS)
    return AdapterOptions(kind, targets, dropout, seed=0)


def inputs():
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return (draw(2, 4, 3, 4, 4), torch.tensor([700.0, 300.0]), draw(2, 6, 12)), draw(2, 3, 20)


def velocity(model):
    positional, image = inputs()
    return model(*positional, image_BIE=image)


def moved(model):
    """The same adapter with random matrices, as after training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in adapter_layers(model).values():
            layer.lora_B.normal_(std=0.1, generator=generator)
            if layer.magnitude is not None:
                growth = torch.rand(len(layer.magnitude), generator=generator)
                layer.magnitude.mul_(1 + 0.1 * growth)
    return model


@pytest.mark.parametrize("base", ["keep", "bf16", *FROZEN_KINDS])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_begins_without_effect_bit_for_bit(random_dit, kind, base):
    model = random_dit(SHAPE)
    if base == "bf16":
        model.cast(torch.bfloat16)
    elif base != "keep":
        quantize(model, base)
    for mode in (model.eval, model.train):
        mode()
        before = velocity(model).detach()
        if not adapter_layers(model):
            attach_adapter(model, options(kind))
        assert torch.equal(velocity(model).detach(), before)
    loss = velocity(model).square().mean()
    loss.backward()
    gradients = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    learned = [".lora_B", ".magnitude"] if kind == "dora" else [".lora_B"]
    assert gradients == {f"{n}{part}" for n in adapter_layers(model) for part in learned}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_compute_the_published_formulas(kind):
    """LoRA arXiv 2106.09685, rsLoRA 2312.03732, DoRA 2402.09353 equation 5."""
    torch.manual_seed(0)
    holder = torch.nn.Module()
    holder.blocks = torch.nn.ModuleList([torch.nn.Linear(24, 40)])
    base = holder.blocks[0]
    attach_adapter(holder, options(kind, "blocks", rank=9, alpha=6.0))  # type: ignore[arg-type]
    layer = moved(holder).blocks[0]
    x = torch.randn(5, 24)
    weight = base.weight.double()
    scale = 6 / (math.sqrt(9) if kind == "rslora" else 9)
    changed = weight + scale * layer.lora_B.double() @ layer.lora_A.double()
    if kind == "dora":
        changed = changed * (layer.magnitude.double() / changed.norm(dim=1))[:, None]
    for strength in (1.0, 0.5, -2.0, 0.0):
        mixed = weight + strength * (changed - weight)
        exact = torch.nn.functional.linear(x.double(), mixed, base.bias.double())
        with adapter_strength(holder, strength):
            # measured 3e-7
            assert (layer(x) - exact).abs().max() < 1e-5
    assert layer.strength == 1


def test_dora_treats_the_norm_as_a_constant():
    """Equation 11 of arXiv 2402.09353, against autograd with the norm detached."""
    torch.manual_seed(0)
    holder = torch.nn.Module()
    holder.layer = torch.nn.Linear(10, 7)
    attach_adapter(holder, options("dora", "layer", rank=3))  # type: ignore[arg-type]
    layer = moved(holder).layer
    x, upstream = torch.randn(4, 10), torch.randn(4, 7)
    trained = (layer.lora_A, layer.lora_B, layer.magnitude)
    got = torch.autograd.grad(layer(x), trained, upstream)
    changed = layer.weight + layer.scale * layer.lora_B @ layer.lora_A
    factor = layer.magnitude / changed.norm(dim=1).detach()
    plain = torch.nn.functional.linear(x, changed * factor[:, None], layer.bias)
    for one, other in zip(got, torch.autograd.grad(plain, trained, upstream), strict=True):
        assert (one - other).norm() < 1e-4 * other.norm()  # measured 4e-7


@pytest.mark.parametrize("base", FROZEN_KINDS)
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradients_on_a_quantised_base_are_those_on_what_its_codes_stand_for(
    random_dit, kind, base
):
    """The same transformer with the codes' values in fp32 has the same gradients."""
    quantized, plain = quantize(random_dit(SHAPE), base), random_dit(SHAPE)
    layers = dict(quantized.named_modules())
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            layer = layers[name.rpartition(".")[0]]
            if name.endswith(".weight") and hasattr(layer, "values"):
                parameter.copy_(layer.values())
    gradients = []
    for model in (quantized, plain):
        attach_adapter(model.train(), options(kind))
        velocity(moved(model)).square().mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert len(gradients[0]) == len(adapter_layers(plain)) * (3 if kind == "dora" else 2)
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() < 3e-4 * other.norm()  # measured 9e-6


def test_a_layer_belongs_to_the_first_pattern_that_matches(random_dit):
    wanted = (Target("blocks.0.self_attn.q", 2, 2.0), Target("self_attn", 4, 1.0))
    attached = attach_adapter(random_dit(SHAPE), AdapterOptions("lora", wanted, 0.0, 0))
    ranks = {name: (layer.rank, layer.scale) for name, layer in attached.items()}
    assert ranks.pop("blocks.0.self_attn.q") == (2, 1.0)
    assert set(ranks.values()) == {(4, 0.25)}
    assert len(ranks) == 2 * 4 - 1


def test_networks_and_layers_start_from_matrices_of_their_own(random_dit):
    high = attach_adapter(random_dit(SHAPE), options(), "high")
    again = attach_adapter(random_dit(SHAPE), options(), "high")
    low = attach_adapter(random_dit(SHAPE), options(), "low")
    q, k = "blocks.0.self_attn.q", "blocks.0.self_attn.k"
    assert torch.equal(high[q].lora_A, again[q].lora_A)
    assert not torch.equal(high[q].lora_A, low[q].lora_A)
    assert not torch.equal(high[q].lora_A, high[k].lora_A)


def test_dropout_acts_in_training_alone(random_dit):
    model = random_dit(SHAPE)
    attach_adapter(model, options(dropout=0.5))
    moved(model).train()
    assert not torch.equal(velocity(model), velocity(model))
    model.eval()
    with torch.no_grad():
        assert torch.equal(velocity(model), velocity(model))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("self_attn", "blocks.3.self_attn.q", True),
        ("self_attn.q", "blocks.3.self_attn.k", False),
        ("blocks.*.ffn", "blocks.12.ffn.0", True),
        ("blocks.*.ffn", "vace_blocks.1.ffn.0", False),
        ("blocks.[0-4]", "blocks.5.ffn.0", False),
        ("cross_attn.k*", "blocks.0.cross_attn.k_img", True),
        ("attn", "blocks.0.cross_attn.k_img", False),
        ("blocks.0.ffn.0.weight", "blocks.0.ffn.0", False),
    ],
)
def test_patterns_match_whole_parts_of_names(pattern, name, expected):
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([Target("self_atn", 4, 4.0)], "targets.0.layers.*no linear layer; near are self_attn"),
        ([Target("blocks.*.norm3", 4, 4.0)], "matches no linear layer"),
        ([Target("ffn", 4, 4.0), Target("ffn.0", 2, 2.0)], "targets.1.layers.*earlier targets"),
        ([Target("ffn", 33, 4.0)], r"adapter.rank: got 33 for ffn, but blocks.0.ffn.0 is 64x32"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be(random_dit, targets, message):
    model = random_dit(SHAPE)
    with pytest.raises(ProblemsError, match=message):
        attach_adapter(model, AdapterOptions("lora", tuple(targets), 0.0, 0))
    assert not adapter_layers(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
