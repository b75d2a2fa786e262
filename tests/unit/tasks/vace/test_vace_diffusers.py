"""The task VACE against diffusers' pipeline, same noise and noise levels.

On diffusers' side of the known differences: its levels are replaced by the official ones, its
footage has the size that no loader changes, and references, which it puts in reverse order, are
given to it in reverse.
"""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import RunDefaults
from wanctl.tasks.inputs import Inputs, RequestedSize, SourceVideo
from wanctl.tasks.vace.task import VACE
from wanctl.tasks.vace_options import VaceOptions

STEPS, SHIFT, GUIDE = 4, 16.0, 5.0
HEIGHT, WIDTH = 48, 64
DEFAULTS = RunDefaults(
    steps=STEPS, shift=SHIFT, guide_scale=GUIDE, frames=9, fps=16, height=HEIGHT, width=WIDTH
)
TASK = VACE()


def small_pipeline():
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanVACEPipeline,
        WanVACETransformer3DModel,
    )

    class OfficialLevels(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("unipc", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps

    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, temperal_downsample=[False, True, True], dim_mult=[1, 2, 2, 2],
        num_res_blocks=1, latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.1, 2.0],
    )  # fmt: skip
    transformer = WanVACETransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
        freq_dim=32, ffn_dim=48, num_layers=3, cross_attn_norm=True, vace_layers=[0, 2],
        vace_in_channels=72,
    )  # fmt: skip
    for parameter in transformer.parameters():  # norms of one and biases of zero hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    scheduler = OfficialLevels(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    pipeline = WanVACEPipeline(None, None, vae.eval(), scheduler, transformer.eval())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """diffusers' pipeline and our transformer and VAE with the same random weights."""
    folder = tmp_path_factory.mktemp("vace")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        pipeline = small_pipeline()
        pipeline.transformer.save_pretrained(folder / "transformer")
        pipeline.vae.save_pretrained(folder / "vae")
    return pipeline, load_dit(folder / "transformer", precision="reference"), load_vae(folder)


class Encoder:
    """What the task needs of the networks."""

    def __init__(self, dit, vae):
        self.dit = dit.shape
        self._vae = vae

    def latents(self, video):
        return self._vae.encode(video[None])[0]

    def images(self, pictures):
        raise AssertionError("VACE has no image tokens")


def footage(frames=9) -> SourceVideo:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 255, (frames, 6, 8, 3), np.uint8)
    pictures = list(low.repeat(8, axis=1).repeat(8, axis=2))
    edges = np.arange(frames + 1) / 16
    return SourceVideo(pictures, edges[:-1], edges[1:], "clip.mp4", (HEIGHT, WIDTH))


def half_mask() -> SourceVideo:
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[8:40, 20:60] = 255
    picture[4:8] = 140  # shades reach the mask channels
    return SourceVideo([picture], np.zeros(1), np.ones(1), "mask.png", (HEIGHT, WIDTH))


def reference(seed, height, width) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.integers(0, 255, (height, width, 3), np.uint8))
    return values.permute(2, 0, 1).float() / 127.5 - 1


REFERENCES = (reference(1, 40, 88), reference(2, 64, 24))
CASES = {
    "words": Inputs(),
    "references": Inputs(references=REFERENCES),
    "control": Inputs(video=footage()),
    "mask": Inputs(video=footage(), mask=half_mask()),
    "all": Inputs(
        video=footage(), mask=half_mask(), references=REFERENCES, vace=VaceOptions(scale=0.6)
    ),
    "one frame": Inputs(video=footage(1), mask=half_mask(), references=REFERENCES[:1]),
}


def pil(picture) -> Image.Image:
    if isinstance(picture, torch.Tensor):
        picture = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(picture).convert("RGB")


def diffusers_says(pipeline, inputs, size, noise, texts, output_type="latent"):
    given = {}
    if inputs.video:
        given["video"] = [pil(each) for each in inputs.video.pictures]
    if inputs.mask:
        given["mask"] = [pil(inputs.mask.pictures[0])] * size.frames
    if inputs.references:
        given["reference_images"] = [pil(each) for each in reversed(inputs.references)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline(
            height=size.height, width=size.width, num_frames=size.frames, latents=noise,
            num_inference_steps=STEPS, guidance_scale=GUIDE, prompt_embeds=texts[:1],
            negative_prompt_embeds=texts[1:], output_type=output_type,
            conditioning_scale=(inputs.vace or VaceOptions()).scale, **given,
        ).frames  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_latents_are_those_of_the_pipeline(models, case):
    pipeline, dit, vae = models
    inputs = CASES[case]
    size = TASK.size(inputs, RequestedSize(), DEFAULTS, vae.shape)
    assert size == PixelShape(1 if case == "one frame" else 9, HEIGHT, WIDTH)
    generator = torch.Generator().manual_seed(3)
    texts = torch.randn(2, 512, 16, generator=generator)
    shape = TASK.latent_shape(vae.shape, *size, inputs)
    noise = torch.randn(1, *shape, generator=generator)
    conditions = TASK.conditions([texts[0]], 512, inputs, size, Encoder(dit, vae))
    ours = generate(
        dit, noise=noise, conditions=conditions, negative_context=texts[1:], guide_scale=GUIDE,
        schedule=make_schedule("unipc", STEPS, SHIFT), solver="unipc",
    )  # fmt: skip
    theirs = diffusers_says(pipeline, inputs, size, noise, texts)
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.3
    assert (ours - theirs).abs().max() <= 1e-4


@torch.no_grad()
def test_pixels_are_those_of_the_pipeline_without_the_references(models):
    pipeline, dit, vae = models
    inputs = CASES["references"]
    size = PixelShape(9, HEIGHT, WIDTH)
    noise = torch.randn(1, 4, 5, 6, 8, generator=torch.Generator().manual_seed(0))
    texts = torch.randn(2, 512, 16, generator=torch.Generator().manual_seed(1))
    conditions = TASK.conditions([texts[0]], 512, inputs, size, Encoder(dit, vae))
    latents = generate(
        dit, noise=noise, conditions=conditions, negative_context=texts[1:], guide_scale=GUIDE,
        schedule=make_schedule("unipc", STEPS, SHIFT), solver="unipc",
    )  # fmt: skip
    ours = vae.decode(TASK.output_latents(latents, inputs))
    theirs = diffusers_says(pipeline, inputs, size, noise, texts, "pt")
    assert ours.shape == (1, 3, 9, HEIGHT, WIDTH)
    assert theirs.std() > 0.05
    assert ((ours + 1) / 2 - theirs.transpose(1, 2)).abs().max() <= 1e-4


@torch.no_grad()
def test_context_with_more_references_than_latent_frames_has_them_all(models):
    pipeline, dit, vae = models
    inputs = Inputs(video=footage(1), mask=half_mask(), references=REFERENCES)
    size = PixelShape(1, HEIGHT, WIDTH)
    texts = torch.zeros(2, 512, 16)
    conditions = TASK.conditions([texts[0]], 512, inputs, size, Encoder(dit, vae))
    assert conditions.control.shape == (1, 72, 3, 6, 8)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        diffusers_says(pipeline, inputs, size, torch.zeros(1, 4, 3, 6, 8), texts)
