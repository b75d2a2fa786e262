"""SkyReels-V2: its transformer and a whole sample are those of diffusers, at both frame rates.

diffusers' pipeline runs in synchronous mode (`ar_step=0`), in which all frames have one noise
level, with the official noise levels, which it does not follow by itself. In one thing they differ
on purpose: each frame's solver remembers its first sample as a view of the latents, as in the
published code, and the second step's corrector then starts from latents that were overwritten. Here
the solver gets copies.
"""

import warnings

import pytest
import torch

from wanctl.checkpoint.configs import dit_config, dit_shape_from_config, with_parts
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.variants import DiTShape

STEPS, SHIFT, GUIDE, SEED = 4, 8.0, 6.0, 3
SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=2, num_heads=2, in_channels=16, text_dim=24, freq_dim=32,
    frame_rates=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """diffusers' transformer, and ours read from its folder."""
    from diffusers import SkyReelsV2Transformer3DModel

    folder = tmp_path_factory.mktemp("skyreels")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        theirs = SkyReelsV2Transformer3DModel(
            num_attention_heads=2, attention_head_dim=24, text_dim=24, freq_dim=32, ffn_dim=64,
            num_layers=2, inject_sample_info=True,
        ).eval()  # fmt: skip
        for parameter in theirs.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        theirs.save_pretrained(folder / "transformer")
    return theirs, load_dit(folder, precision="reference")


def given():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 16, 3, 4, 6, generator=generator)
    return latents, torch.randn(2, 512, 24, generator=generator)


@pytest.mark.parametrize("rate", [0, 1])
@torch.no_grad()
def test_the_transformer_is_that_of_diffusers(networks, rate):
    theirs, ours = networks
    assert ours.shape == SHAPE
    latents, text = given()
    timesteps = torch.tensor([[500.0, 20.0, 900.0]])
    numbers = torch.full((2, 1), rate)
    velocity = ours(latents, timesteps, text, frame_rate_B1=numbers)
    expected = torch.cat(
        [  # it fails where timesteps of frames are those of several items
            theirs(x, timesteps, c, enable_diffusion_forcing=True, fps=[rate]).sample
            for x, c in zip(latents.split(1), text.split(1), strict=True)
        ]
    )
    print(f"rate {rate}: greatest difference {(velocity - expected).abs().max():.1e}")
    torch.testing.assert_close(velocity, expected, atol=2e-5, rtol=0)
    one = torch.tensor([700.0, 3.0])
    velocity = ours(latents, one, text, frame_rate_B1=numbers[:1])
    expected = theirs(latents, one, text, fps=[rate, rate]).sample
    torch.testing.assert_close(velocity, expected, atol=2e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("fps", [16, 24])
@torch.no_grad()
def test_the_sample_is_that_of_the_pipeline(networks, fps):
    from diffusers import (
        AutoencoderKLWan,
        SkyReelsV2DiffusionForcingPipeline,
        UniPCMultistepScheduler,
    )

    class OfficialLevels(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("unipc", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps

        def step(self, model_output, timestep, sample, **more):
            return super().step(model_output, timestep, sample.clone(), **more)

    theirs, ours = networks
    noise, texts = given()
    scheduler = OfficialLevels(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    vae = AutoencoderKLWan(base_dim=4, num_res_blocks=1)
    pipeline = SkyReelsV2DiffusionForcingPipeline(None, None, theirs, vae, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it turns given texts into tensors again
        expected = pipeline(
            prompt=None, height=32, width=48, num_frames=9, base_num_frames=9,
            num_inference_steps=STEPS, guidance_scale=GUIDE, generator=generator,
            prompt_embeds=texts[:1], negative_prompt_embeds=texts[1:], output_type="latent",
            ar_step=0, fps=fps,
        ).frames  # fmt: skip
    noise = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(SEED))
    sample = generate(
        ours, noise=noise, conditions=Conditions(texts[:1]).with_frame_rate(ours.shape, fps),
        negative_context=texts[1:], guide_scale=GUIDE,
        schedule=make_schedule("unipc", STEPS, SHIFT), solver="unipc",
    )  # fmt: skip
    assert expected.std() > 0.1
    print(f"{fps} fps: greatest difference {(sample - expected).abs().max():.1e}")
    torch.testing.assert_close(sample, expected, atol=1e-4, rtol=0)


def test_configs_of_both_layouts_say_so(networks, tmp_path):
    _, net = networks
    for layout in ("official", "diffusers"):
        config = dit_config(SHAPE, layout)
        assert config["inject_sample_info"]
        shapes = {name: tuple(t.shape) for name, t in net.state_dict().items()}
        assert with_parts(dit_shape_from_config(config, ""), shapes) == SHAPE
    save_dit(net, tmp_path / "dit")
    again = load_dit(find_components(tmp_path))
    assert again.shape == SHAPE
    assert torch.equal(again.fps_embedding.weight, net.fps_embedding.weight)


def test_as_many_rates_as_items_are_needed(networks):
    latents, text = given()
    with pytest.raises(ValueError, match=r"frame rate: got \(3, 1\); need \(2, 1\)"):
        networks[1](latents, torch.ones(1), text, frame_rate_B1=torch.zeros(3, 1).long())
