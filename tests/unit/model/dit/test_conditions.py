"""Models that look at images, control video or per-frame timesteps, against diffusers."""

import pytest
import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SIZES = {
    "num_attention_heads": 2, "attention_head_dim": 128, "ffn_dim": 96, "num_layers": 3,
    "text_dim": 40, "freq_dim": 32,
}  # fmt: skip
IMAGE = {"image_dim": 20, "added_kv_proj_dim": 256, "in_channels": 12, "out_channels": 4}
GRID = (3, 6, 10)


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():  # norms of one and biases of zero would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def inputs(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, channels, *GRID), torch.randn(2, 5, 40)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("precision", ["fast", "reference"])
def test_image_tokens_equal_diffusers(tmp_path, images, precision):
    positions = {"pos_embed_seq_len": 2 * 7} if images == 2 else {}
    theirs = randomised(WanTransformer3DModel(**SIZES, **IMAGE, **positions))
    theirs.save_pretrained(tmp_path)
    ours = load_dit(tmp_path, precision=precision)
    latents, _ = inputs(12)
    timesteps = torch.tensor([999, 7])
    context = torch.randn(2, 512, 40)  # diffusers takes the last 512 rows for the text
    # diffusers takes the two images of an item one after the other in the batch
    image = torch.randn(2 * images, 7, 20)
    with torch.no_grad():
        expected = theirs(latents, timesteps, context, image, return_dict=False)[0]
        got = ours(latents, timesteps, context, image_BIE=image.view(2, -1, 20))
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("precision", ["fast", "reference"])
def test_control_equals_diffusers(tmp_path, precision):
    theirs = randomised(
        WanVACETransformer3DModel(
            **SIZES, in_channels=4, out_channels=4, vace_layers=[0, 2], vace_in_channels=6
        )
    )
    theirs.save_pretrained(tmp_path)
    ours = load_dit(tmp_path, precision=precision)
    latents, context = inputs(4)
    timesteps, control = torch.tensor([999, 7]), torch.randn(2, 6, *GRID)
    for scale in (1.0, 0.3):
        with torch.no_grad():
            expected = theirs(
                latents, timesteps, context, control_hidden_states=control,
                control_hidden_states_scale=torch.tensor([scale, scale]), return_dict=False,
            )[0]  # fmt: skip
            got = ours(latents, timesteps, context, control_BCTYX=control, control_scale=scale)
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("precision", ["fast", "reference"])
def test_a_timestep_per_frame_equals_diffusers_timestep_per_token(tmp_path, precision):
    theirs = randomised(WanTransformer3DModel(**SIZES, in_channels=4, out_channels=4))
    theirs.save_pretrained(tmp_path)
    ours = load_dit(tmp_path, precision=precision)
    latents, context = inputs(4)
    per_frame = torch.tensor([[0.0, 500, 500], [0, 41, 999]])
    tokens = per_frame.repeat_interleave(GRID[1] * GRID[2] // 4, dim=1)
    with torch.no_grad():
        expected = theirs(latents, tokens, context, return_dict=False)[0]
        got = ours(latents, per_frame, context)
        same = ours(latents, torch.full((2, 3), 500.0), context)
        plain = ours(latents, torch.full((2,), 500.0), context)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(same, plain, atol=5e-6, rtol=0)


SHAPES = {
    "image": {"in_channels": 12, "image_dim": 20},
    "two images": {"in_channels": 12, "image_dim": 20, "image_tokens": 14},
    "control": {"in_channels": 4, "vace_layers": (0, 2), "vace_channels": 6},
}


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("name", SHAPES)
def test_saved_and_loaded_it_is_the_same(tmp_path, name, layout):
    shape = DiTShape(
        dim=256, ffn_dim=32, num_layers=3, num_heads=2, out_channels=4, text_dim=8, text_len=512,
        freq_dim=8, **SHAPES[name],
    )  # fmt: skip
    model = randomised(WanModel(shape))
    save_dit(model, tmp_path, layout=layout)
    again = load_dit(tmp_path)
    assert again.shape == shape
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    (tmp_path / "config.json").unlink()
    assert load_dit(tmp_path).shape == shape


def test_gradients_reach_every_parameter():
    shape = DiTShape(
        dim=16, ffn_dim=32, num_layers=3, num_heads=2, in_channels=4, out_channels=4, text_dim=40,
        freq_dim=8, image_dim=20, vace_layers=(0, 2), vace_channels=6,
    )  # fmt: skip
    model = randomised(WanModel(shape))
    latents, context = inputs(4)
    extra = {"image_BIE": torch.randn(2, 7, 20), "control_BCTYX": torch.randn(2, 6, *GRID)}
    model.train()
    model(latents, torch.tensor([999, 7]), context, **extra).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"image_BIE": torch.zeros(2, 7, 20)}, "takes no image tokens"),
        ({"control_BCTYX": torch.zeros(2, 96, *GRID)}, "takes no control"),
    ],
)
def test_conditions_that_the_model_does_not_know_are_refused(extra, message):
    shape = DiTShape(
        dim=16, ffn_dim=32, num_layers=1, num_heads=2, in_channels=4, out_channels=4, text_dim=40
    )
    latents, context = inputs(4)
    with pytest.raises(ValueError, match=message):
        WanModel(shape)(latents, torch.tensor([1, 2]), context, **extra)
