"""A whole sample of Animate in two clips against diffusers' pipeline, in both of its modes.

On diffusers' side of the known differences: its noise levels are the official ones, footage has the
sizes that no loader changes, and CLIP's hidden states are given (its processor crops the picture).
"""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.model.dit.animate_models import FACE, diffusers_animate, random_animate
from tests.unit.sample.clips.clip_pipeline import ClipPipeline
from wanctl.checkpoint.load import load_vae
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import RunDefaults
from wanctl.sample.clips.loop import ClipLoop
from wanctl.tasks.clips.animate import Animate
from wanctl.tasks.inputs import ClipOptions, Inputs, RequestedSize, SourceVideo

STEPS, SHIFT, GUIDE, SEED = 3, 5.0, 3.0, 7
CLIP, FRAMES, SIDES = 9, 14, (48, 64)
TASK = Animate()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """diffusers' pipeline, and our transformer and VAE with the same random weights."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanAnimatePipeline

    class OfficialLevels(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("unipc", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps

    folder = tmp_path_factory.mktemp("animate")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        vae = AutoencoderKLWan(
            base_dim=4, z_dim=16, temperal_downsample=[False, True, True], num_res_blocks=1
        ).eval()
        vae.save_pretrained(folder / "vae")
        ours = random_animate()
        ours.head.head.weight.data *= 0.3  # keep the sample in the range of pixels
        scheduler = OfficialLevels(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
        )
        pipeline = WanAnimatePipeline(
            None, None, vae, scheduler, None, None, diffusers_animate(ours)
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, ours, load_vae(folder)


def footage(seed, sides) -> SourceVideo:
    small = np.random.default_rng(seed).integers(0, 255, (FRAMES, 4, 4, 3), np.uint8)
    pictures = list(small.repeat(sides[0] // 4, axis=1).repeat(sides[1] // 4, axis=2))
    edges = np.arange(FRAMES + 1) / 30
    return SourceVideo(pictures, edges[:-1], edges[1:], f"{seed}.mp4", sides)


def inputs(*, replaces) -> Inputs:
    picture = np.random.default_rng(9).integers(0, 255, (*SIDES, 3), np.uint8)
    mask = footage(4, SIDES)
    black = [np.where(each[..., :1] > 127, 255, 0).repeat(3, axis=2) for each in mask.pictures]
    mask = replace(mask, pictures=[each.astype(np.uint8) for each in black])
    more = {"video": footage(3, SIDES), "mask": mask} if replaces else {}
    return Inputs(
        image=torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1,
        pose_video=footage(1, SIDES), face_video=footage(2, (FACE.side, FACE.side)),
        clips=ClipOptions(CLIP), fps=30.0, **more,
    )  # fmt: skip


def pil(video: SourceVideo | None) -> list[Image.Image] | None:
    return video and [Image.fromarray(each) for each in video.pictures]


def diffusers_says(pipeline, given, texts, view):
    """(3, F, H, W) in [0, 1]."""
    image = ((given.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(pipeline, "encode_image", lambda *_: view)
        return pipeline(
            image=Image.fromarray(image), pose_video=pil(given.pose_video),
            face_video=pil(given.face_video), background_video=pil(given.video),
            mask_video=pil(given.mask), mode="replace" if given.mask else "animate",
            height=SIDES[0], width=SIDES[1], segment_frame_length=CLIP,
            num_inference_steps=STEPS, prev_segment_conditioning_frames=1, guidance_scale=GUIDE,
            generator=torch.Generator().manual_seed(SEED), prompt_embeds=texts[:1],
            negative_prompt_embeds=texts[1:], output_type="pt",
        ).frames[0].transpose(0, 1)  # fmt: skip


class Pipeline(ClipPipeline):
    """The small networks of this test."""

    def __init__(self, dit, vae, given, texts, view):
        super().__init__(dit, vae, given, texts)
        self._view = view

    def images(self, pictures):
        assert len(pictures) == 1
        return self._view

    def denoise(self, request, conditions, texts, clip, label):
        noise = self.noise(TASK, request, clip, SEED)
        return generate(
            self._dit, noise=noise, conditions=conditions.with_context(self._texts[:1]),
            negative_context=self._texts[1:], guide_scale=GUIDE,
            schedule=make_schedule("unipc", STEPS, SHIFT), solver="unipc",
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("replaces", [False, True])
@torch.no_grad()
def test_pixels_of_two_clips_are_those_of_the_pipeline(models, tmp_path, monkeypatch, replaces):
    pipeline, dit, vae = models
    generator = torch.Generator().manual_seed(1)
    texts, view = torch.randn(2, 512, 24, generator=generator), torch.randn(1, 9, 16)
    given = inputs(replaces=replaces)
    theirs = diffusers_says(pipeline, given, texts, view)
    defaults = RunDefaults(
        steps=STEPS, shift=SHIFT, guide_scale=GUIDE, frames=CLIP, fps=30.0, height=SIDES[0],
        width=SIDES[1],
    )  # fmt: skip
    size = TASK.size(given, RequestedSize(), defaults, vae.shape)
    assert size == PixelShape(FRAMES, *SIDES)
    request = SimpleNamespace(
        task="animate", size=size, frames=FRAMES, first_frame_log_scale=None, prompt="", seed=SEED
    )
    outputs = SimpleNamespace(path=lambda _: tmp_path / "a.mp4", header=lambda _: {})
    loop = ClipLoop(Pipeline(dit, vae, given, texts, view), outputs, request, {})
    added = []
    monkeypatch.setattr(loop._seams, "add", added.append)
    monkeypatch.setattr(loop, "_report", lambda: None)
    assert len(list(loop._frames())) == FRAMES
    ours = (torch.cat(added, dim=1) + 1) / 2
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.02
    assert (ours - theirs).abs().max() <= 1e-4
