"""A whole sample of Animate 2 in two clips against diffusers' modular pipeline.

On diffusers' side of the known differences: its noise levels are the official ones, its block mask
is a dense one, and the picture's sides are multiples of 16, because it computes the borders of
other pictures from rounded sides.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.nn.attention.flex_attention import create_mask

from tests.unit.sample.clips.clip_pipeline import ClipPipeline
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.encoders.clip_vision import preprocessed
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import RunDefaults
from wanctl.sample.clips.loop import ClipLoop
from wanctl.tasks.clips.animate2 import Animate2
from wanctl.tasks.inputs import ClipOptions, Inputs, RequestedSize, SourceVideo

STEPS, SHIFT, GUIDE, SEED = 3, 5.0, 3.0, 7
CLIP, FRAMES = 9, 14  # the second clip is played back for three frames
PICTURE, AREA = (64, 48), 64 * 48
TASK = Animate2()


class Tower(nn.Module):
    """CLIP's vision tower in miniature, as both programs call it."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 49, 1280)

    def forward(self, pixel_values, **_):
        hidden = self.layer(F.unfold(F.avg_pool2d(pixel_values, 8), 7, stride=7).transpose(1, 2))
        return SimpleNamespace(hidden_states=(hidden, None))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from diffusers import AutoencoderKLWan, WanAnimate2Transformer3DModel

    folder = tmp_path_factory.mktemp("animate2")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        vae = AutoencoderKLWan(
            base_dim=4, z_dim=16, temperal_downsample=[False, True, True], num_res_blocks=1
        ).eval()
        transformer = WanAnimate2Transformer3DModel(
            text_len=8, dim=128, ffn_dim=64, freq_dim=32, text_dim=24, num_heads=1, num_layers=10
        ).eval()
        for parameter in transformer.parameters():  # norms of one and zeros hide mistakes
            parameter.data += 0.05 * torch.randn_like(parameter)
        tower = Tower()
        vae.save_pretrained(folder / "vae")
        transformer.save_pretrained(folder / "transformer")
    ours = load_dit(folder / "transformer", precision="reference"), load_vae(folder)
    return transformer, vae, tower, ours


def inputs() -> Inputs:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (FRAMES, 5, 6, 3), np.uint8)
    pictures = list(small.repeat(8, axis=1).repeat(8, axis=2))
    edges = np.arange(FRAMES + 1) / 24
    picture = torch.from_numpy(rng.integers(0, 255, (3, 8, 6), np.uint8)).float() / 127.5 - 1
    return Inputs(
        image=picture.repeat_interleave(8, 1).repeat_interleave(8, 2),
        video=SourceVideo(pictures, edges[:-1], edges[1:], "clip.mp4", (40, 48)),
        clips=ClipOptions(CLIP),
        fps=24.0,
    )


def diffusers_says(models, given, texts):
    """(3, F, H, W) in [0, 1]."""
    from diffusers import ClassifierFreeGuidance, FlowMatchEulerDiscreteScheduler
    from diffusers.modular_pipelines.wan_animate_2.modular_blocks_wan_animate_2 import (
        WanAnimate2Blocks,
    )

    class OfficialLevels(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("euler", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps.float()

    transformer, vae, tower, _ = models
    blocks = WanAnimate2Blocks()
    blocks.sub_blocks.pop("text_encoder")
    pipeline = blocks.init_pipeline()
    pipeline.update_components(
        transformer=transformer, vae=vae, image_encoder=tower,
        scheduler=OfficialLevels(shift=SHIFT),
        guider=ClassifierFreeGuidance(guidance_scale=GUIDE),
    )  # fmt: skip
    image = ((given.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return pipeline(
        image=Image.fromarray(image), height=PICTURE[0], width=PICTURE[1],
        driving_video=[Image.fromarray(each) for each in given.video.pictures],
        segment_frame_length=CLIP, num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(SEED), prompt_embeds=texts[:1],
        negative_prompt_embeds=texts[1:2], prompt_ref_embeds=texts[2:], output_type="pt",
    ).videos[0].transpose(0, 1)  # fmt: skip


class Pipeline(ClipPipeline):
    """The small networks of this test."""

    def __init__(self, models, given, texts):
        _, _, self.tower, (dit, vae) = models
        super().__init__(dit, vae, given, texts)

    def images(self, pictures):
        pixels = torch.stack([preprocessed(each, 224) for each in pictures])
        return self.tower(pixels).hidden_states[0]

    def denoise(self, request, conditions, texts, clip, label):
        noise = self.noise(TASK, request, clip, SEED)
        conditions = conditions.with_driving_context(self._texts[2:])
        return generate(
            self._dit, noise=noise, conditions=conditions.with_context(self._texts[:1]),
            negative_context=self._texts[1:2], guide_scale=GUIDE,
            schedule=make_schedule("euler", STEPS, SHIFT), solver="euler",
        )  # fmt: skip


@pytest.mark.slow
@torch.no_grad()
def test_pixels_of_two_clips_are_those_of_the_pipeline(models, tmp_path, monkeypatch):
    import diffusers.models.transformers.transformer_wan_animate_2 as module

    def dense_mask(mask, B, H, Q_LEN, KV_LEN, device, _compile):
        return create_mask(mask, B, H, Q_LEN, KV_LEN, device)

    def attend(q, k, v, attn_mask=None, **_):
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask).transpose(1, 2)

    monkeypatch.setattr(module, "create_block_mask", dense_mask)
    monkeypatch.setattr(module, "dispatch_attention_fn", attend)
    given, texts = inputs(), torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(1))
    theirs = diffusers_says(models, given, texts)

    defaults = RunDefaults(
        steps=STEPS, shift=SHIFT, guide_scale=GUIDE, frames=CLIP, fps=24.0, height=PICTURE[0],
        width=PICTURE[1],
    )  # fmt: skip
    pipeline = Pipeline(models, given, texts)
    size = TASK.size(given, RequestedSize(), defaults, pipeline.shared_vae(None).shape)
    assert size == PixelShape(FRAMES, *PICTURE)
    request = SimpleNamespace(
        task="animate2", size=size, frames=FRAMES, first_frame_log_scale=0.0, prompt="", seed=SEED
    )
    outputs = SimpleNamespace(path=lambda _: tmp_path / "a.mp4", header=lambda _: {})
    loop = ClipLoop(pipeline, outputs, request, {})
    added = []
    monkeypatch.setattr(loop._seams, "add", added.append)
    monkeypatch.setattr(loop, "_report", lambda: None)
    assert len(list(loop._frames())) == FRAMES
    ours = (torch.cat(added, dim=1) + 1) / 2
    assert [each.shape[1] for each in added] == [9, 5]
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.02
    assert (ours - theirs).abs().max() <= 1e-4
