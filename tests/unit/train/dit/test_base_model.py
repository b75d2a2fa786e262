"""A text-to-video transformer as the start of an image-to-video model."""

from dataclasses import replace

import pytest
import torch

from tests.unit.train.dit.test_dit_objective import DIT_SHAPE
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.train.dit.base_model import BaseModelError, fit_inputs
from wanctl.train.dit.start import start_dit

IMAGE, TWO_IMAGES = {"image_dim": 12}, {"image_dim": 12, "image_tokens": 34}
CHANNELS = replace(DIT_SHAPE, in_channels=12)


def base_of(shape):
    torch.manual_seed(0)
    model = WanModel(shape)
    for parameter in model.parameters():  # the head starts with zeros
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("branch", [{}, IMAGE, TWO_IMAGES], ids=["none", "one", "two"])
def test_additions_leave_every_velocity_bit_equal_and_can_be_learned(branch):
    base = base_of(DIT_SHAPE)
    model = fit_inputs(base, replace(CHANNELS, **branch), "x", seed=0)
    x, extra = torch.randn(2, 4, 3, 6, 10), 3 * torch.randn(2, 8, 3, 6, 10)
    times, text = torch.tensor([[0.0, 900, 900], [300, 300, 300]]), torch.randn(2, 5, 6)
    image = {"image_BIE": torch.randn(2, 34, 12)} if branch else {}
    for training in (True, False):
        base.train(training)
        model.train(training)
        with torch.no_grad():
            expected = base(x.clone(), times, text)
            assert torch.equal(model(torch.cat((x, extra), 1), times, text, **image), expected)
    model.train()
    model(torch.cat((x, extra), 1), times, text, **image).square().mean().backward()
    assert model.patch_embedding.weight.grad[:, 4:].abs().max() > 0
    if branch:
        assert model.blocks[0].cross_attn.v_img.weight.grad.abs().max() > 0


def test_models_that_read_the_frame_rate_are_not_trained():
    base = make_dit(replace(DIT_SHAPE, frame_rates=2))
    with pytest.raises(BaseModelError, match="x: it reads the frame rate"):
        fit_inputs(base, DIT_SHAPE, "x", seed=0)


def test_a_run_starts_from_the_files_of_a_text_to_video_model(tmp_path):
    base = base_of(DIT_SHAPE)
    save_dit(base, tmp_path / "dit")
    model = start_dit(replace(CHANNELS, **IMAGE), str(tmp_path), "fast", 3)
    assert model.shape == replace(CHANNELS, **IMAGE)
    again = start_dit(replace(CHANNELS, **IMAGE), str(tmp_path), "fast", 3).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.patch_embedding.weight[:, :4], base.patch_embedding.weight)
    # what was trained loads as an image-to-video model, and may go on without its image branch
    save_dit(model, tmp_path / "trained" / "dit")
    assert load_dit(tmp_path / "trained").shape.image_dim == 12
    assert start_dit(CHANNELS, str(tmp_path / "trained"), "fast", 3).shape == CHANNELS
    assert start_dit(DIT_SHAPE, str(tmp_path), "fast", 3).shape == DIT_SHAPE


@pytest.mark.parametrize(
    ("has", "wanted", "message"),
    [
        ({"in_channels": 9}, {"in_channels": 12}, "takes 9 input channels for 4 of the velocity"),
        ({"in_channels": 12}, {}, "reads known frames as channels and the variant does not"),
        ({"in_channels": 12, **IMAGE}, {"in_channels": 12, **TWO_IMAGES}, "reads 1 pictures"),
        ({"vace_layers": (0,)}, {"in_channels": 12}, "takes 4 input channels"),
    ],
)
def test_bases_that_do_not_fit_are_refused_with_their_numbers(has, wanted, message):
    with torch.device("meta"):
        base = WanModel(replace(DIT_SHAPE, **has))
    with pytest.raises(BaseModelError, match=f"weights: {message}"):
        fit_inputs(base, replace(DIT_SHAPE, **wanted), "weights", seed=0)
