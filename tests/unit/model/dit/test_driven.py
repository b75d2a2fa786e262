"""Animate 2's transformer: equal to that of diffusers, and its attention to a plain softmax."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask

from wanctl.checkpoint.key_tables import DRIVEN_KEYS, to_diffusers
from wanctl.model.dit.animate.driven import DrivenAttention, DrivenModel, DrivingKeys
from wanctl.model.dit.attention import attention
from wanctl.model.dit.networks import make_dit
from wanctl.model.variants import DiTShape

FRAMES, ROWS, COLUMNS = 2, 4, 6  # of the driving video's latents
TOKENS = ROWS * COLUMNS // 4
SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=11, num_heads=2, in_channels=36, text_dim=24, text_len=8,
    freq_dim=32, image_dim=1280, driven=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> DrivenModel:
    torch.manual_seed(0)
    made = make_dit(SHAPE, "reference").eval()
    for name, parameter in made.named_parameters():
        vector = parameter.ndim < 2 or "modulation" in name
        torch.nn.init.normal_(parameter, std=0.3 if vector else parameter[0].numel() ** -0.5)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    assert isinstance(made, DrivenModel)
    return made


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "driving": draw(1, 36, FRAMES, ROWS, COLUMNS),
        "driving_text": F.pad(draw(1, 5, 24), (0, 0, 0, 3)),
        "driving_image": draw(1, 9, 1280),
        "latents": draw(1, 36, FRAMES + 1, ROWS, COLUMNS),
        "text": draw(1, 8, 24),
        "image": draw(1, 9, 1280),
    }


def theirs(model, inputs, *, negative):
    """What diffusers' class with the same weights predicts; its mask is dense, not in blocks."""
    import diffusers.models.transformers.transformer_wan_animate_2 as module

    def dense_mask(mask, B, H, Q_LEN, KV_LEN, device, _compile):
        return create_mask(mask, B, H, Q_LEN, KV_LEN, device)

    def attend(q, k, v, attn_mask=None, **_):
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask).transpose(1, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "create_block_mask", dense_mask)
        patch.setattr(module, "dispatch_attention_fn", attend)
        net = module.WanAnimate2Transformer3DModel(
            text_len=8, dim=48, ffn_dim=64, freq_dim=32, text_dim=24, num_heads=2, num_layers=11
        ).eval()
        names = to_diffusers(model.state_dict(), DRIVEN_KEYS)
        net.load_state_dict({names[name]: t for name, t in model.state_dict().items()})
        cache = module.WanAnimate2KVCache(11)
        grid = torch.tensor([[FRAMES, ROWS // 2, COLUMNS // 2]])
        net(
            [inputs["driving"][0, :16]],
            timestep=torch.tensor([999.0]),
            encoder_hidden_states=[inputs["driving_text"][0, :5]],
            encoder_hidden_states_image=inputs["driving_image"],
            condition_latents=[inputs["driving"][0, 16:]],
            kv_cache=cache,
            kv_cache_mode="extract",
            seq_len=FRAMES * TOKENS,
            offset_grid_sizes=grid,
        )
        return net(
            [inputs["latents"][0, :16]],
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=[inputs["text"][0]],
            encoder_hidden_states_image=inputs["image"],
            condition_latents=[inputs["latents"][0, 16:]],
            kv_cache=cache,
            kv_cache_mode="cached",
            seq_len=(FRAMES + 1) * TOKENS,
            reference_grid_sizes=grid,
            origin_len=4 * (FRAMES - 1) + 1,
            origin_area=[ROWS * 8, COLUMNS * 8],
            is_uncondtion=negative,
        ).sample[0]


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("negative", [False, True])
def test_both_passes_are_those_of_diffusers(model, inputs, negative):
    expected = theirs(model, inputs, negative=negative)
    keys = model.read_driving(inputs["driving"], inputs["driving_text"], inputs["driving_image"])
    ours = model(
        inputs["latents"],
        torch.tensor([500.0]),
        inputs["text"],
        image_BIE=inputs["image"],
        driving=keys,
        skipped=(9,) if negative else (),
    )[0]
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("bias", [0.0, -1.3])
def test_a_frame_sees_all_of_the_output_and_its_own_driving_frame(bias):
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 9, 2, 8, generator=generator) for _ in range(3))
    keys = DrivingKeys(*(torch.randn(2, 2, 3, 2, 8, generator=generator) for _ in range(2)))
    found = DrivenAttention(keys, bias)(attention, q, k, v)
    seen_k, seen_v = (
        torch.cat((own, key.flatten(1, 2)), 1) for own, key in zip((k, v), keys, strict=True)
    )
    scores = torch.einsum("blnk,bsnk->bnls", q, seen_k) / 8**0.5
    frames = torch.arange(9) // 3
    scores[..., 3:6] += bias
    hidden = frames[:, None] != 1 + torch.arange(6) // 3
    scores[..., 9:].masked_fill_(hidden, float("-inf"))
    expected = torch.einsum("bnls,bsnk->blnk", scores.softmax(-1), seen_v)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_keys_of_another_video_are_refused(model, inputs):
    keys = model.read_driving(inputs["driving"], inputs["driving_text"], inputs["driving_image"])
    with pytest.raises(ValueError, match="got keys of 2 latent frames with 6 tokens; need 3 with"):
        model(
            torch.zeros(1, 36, 4, ROWS, COLUMNS), torch.tensor([1.0]), inputs["text"],
            image_BIE=inputs["image"], driving=keys,
        )  # fmt: skip


@torch.no_grad()
def test_precisions_agree_in_fp32_and_prompts_may_be_read_before(model, inputs):
    fast = make_dit(SHAPE).eval()
    fast.load_state_dict(model.state_dict())
    found = []
    for net in (model, fast):
        keys = net.read_driving(inputs["driving"], inputs["driving_text"], inputs["driving_image"])
        text = net.precompute_cross_attention(inputs["text"], inputs["image"])
        found.append(net(inputs["latents"], torch.tensor([500.0]), text, driving=keys))
    torch.testing.assert_close(*found, atol=2e-5, rtol=0)
