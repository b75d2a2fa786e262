"""A VACE transformer that starts from a text-to-video one."""

from dataclasses import replace

import pytest
import torch

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.prepare import Base, prepare_weights
from wanctl.train.dit.start import StartError, start_dit
from wanctl.train.dit.vace.start import (
    ControlStartError,
    add_control_blocks,
    default_trained,
    with_control_blocks,
)

BASE = DiTShape(
    dim=24, ffn_dim=48, num_layers=3, num_heads=2, in_channels=4, out_channels=4, text_dim=6,
    text_len=5, freq_dim=16,
)  # fmt: skip
SHAPE = replace(BASE, vace_layers=(0, 2), vace_channels=72)


def randomised(shape=BASE) -> WanModel:
    """A model whose head and biases are not zero, which would hide differences."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(shape).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def inputs(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, 3, 4, 6, generator=generator)
    text = torch.randn(2, 5, 6, generator=generator)
    control = scale * torch.randn(2, 72, 3, 4, 6, generator=generator)
    return (x, torch.tensor([900.0, 30.0]), text), control


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@torch.no_grad()
def test_the_output_is_the_bases_bit_for_bit_whatever_the_control(training, scale):
    base = randomised().train(training)
    model = add_control_blocks(base, SHAPE)
    arguments, control = inputs(scale=scale)
    expected = base(*arguments)
    assert expected.std() > 0.1
    assert torch.equal(model(*arguments, control_BCTYX=control, control_scale=1.7), expected)


def test_control_blocks_are_copies_and_share_no_memory_with_the_base():
    base = randomised()
    model = add_control_blocks(base, SHAPE)
    for number, layer in enumerate(SHAPE.vace_layers):
        copied = model.vace_blocks[number].state_dict()
        for name, tensor in base.blocks[layer].state_dict().items():
            assert torch.equal(copied[name], tensor)
            assert copied[name].data_ptr() != tensor.data_ptr()
    assert model.blocks[0].ffn[0].weight.data_ptr() == base.blocks[0].ffn[0].weight.data_ptr()
    embedding, video = model.vace_patch_embedding.weight, base.patch_embedding.weight
    for half in (slice(0, 4), slice(4, 8)):
        assert torch.equal(embedding[:, half], video)
    assert not embedding[:, 8:].any()


def test_gradients_reach_the_projections_first_and_never_the_frozen_base():
    model = add_control_blocks(randomised().train(), SHAPE)
    prepare_weights(model, Base(None, ""), default_trained(SHAPE))
    arguments, control = inputs()
    model(*arguments, control_BCTYX=control).square().mean().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {f"vace_blocks.{m}.after_proj.weight" for m in (0, 1)} <= with_gradient
    assert all(name.startswith("vace_") for name in with_gradient)
    # a step of the last projections opens the way to all that lies before them
    with torch.no_grad():
        for block in model.vace_blocks:
            block.after_proj.weight += block.after_proj.weight.grad
    model(*arguments, control_BCTYX=control).square().mean().backward()
    frozen = {name for name, p in model.named_parameters() if p.grad is None}
    assert frozen == {n for n, _ in model.named_parameters() if not n.startswith("vace_")}
    # zero times the gradient of the first projection: the embedding learns one step later
    assert model.vace_blocks[0].before_proj.weight.grad.any()
    assert model.vace_blocks[1].self_attn.q.weight.grad.any()


def test_a_base_of_other_sizes_is_one_line():
    with pytest.raises(ControlStartError, match=r"num_layers 3; the variant's .* num_layers 4; ch"):
        add_control_blocks(randomised(), replace(SHAPE, num_layers=4))
    with pytest.raises(ControlStartError, match="the base has in_channels 8"):
        add_control_blocks(randomised(replace(BASE, in_channels=8)), SHAPE)


def test_published_control_blocks_are_kept_and_others_refused():
    model = add_control_blocks(randomised(), SHAPE)
    assert with_control_blocks(model, SHAPE, "FILE") is model
    base = randomised()
    assert with_control_blocks(base, BASE, "FILE") is base
    with pytest.raises(
        ControlStartError, match=r"FILE has control blocks at \[0, 2\], the variant at"
    ):
        with_control_blocks(model, replace(SHAPE, vace_layers=(0, 1)), "FILE")


def test_random_weights_have_no_use_for_a_context_adapter():
    with pytest.raises(StartError, match=r"model\.weights: got null, .* train all with `train_dit"):
        start_dit(SHAPE, None, "fast", 0, needs_base=True)
    model = start_dit(SHAPE, None, "fast", 0)
    assert model.shape == SHAPE
    assert not model.vace_blocks[1].after_proj.weight.any()
    plain = start_dit(BASE, None, "fast", 0)
    assert torch.equal(plain.blocks[2].ffn[0].weight, model.blocks[2].ffn[0].weight)
