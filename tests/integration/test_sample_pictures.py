"""`wanctl sample` on picture models and on two experts, against diffusers' own pipelines.

What diffusers does otherwise is switched to its side, or kept out of the comparison:
the noise levels (theirs are replaced by the official ones), the guide scale and the shift (both are
said), the order of the two guide scales, resizing for the VAE (Lanczos there, bicubic here) and for
CLIP (cut out of the middle there, stretched here): the pictures have the size of the video, which
is a square and the size that CLIP takes.
"""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.integration.test_sample import (
    NEGATIVE,
    PROMPT,
    SHIFT,
    STEPS,
    VAE_21,
    VAE_22,
    recipe,
    small_tokenizer,
)
from wanctl.data.encode import read_metadata
from wanctl.diffusion.schedules import make_schedule
from wanctl.sample.run import sample

SIDE, FRAMES = 32, 9
HIGH, LOW = 4.0, 2.5
CLIP_WIDTH, CLIP_TOKENS = 16, 17
IMAGE_KEYS = {"in_channels": 12, "image_dim": CLIP_WIDTH, "added_kv_proj_dim": 24}


def transformer(**more):
    from diffusers import WanTransformer3DModel

    keys = {"in_channels": 4} | more
    model = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, out_channels=4, text_dim=16,
        freq_dim=32, ffn_dim=48, num_layers=3, cross_attn_norm=True, **keys,
    )  # fmt: skip
    for parameter in model.parameters():  # norms of one and biases of zero would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def eyes():
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=CLIP_WIDTH, intermediate_size=24, num_hidden_layers=3,
            num_attention_heads=2, image_size=SIDE, patch_size=8, hidden_act="gelu",
        )
    )  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    return processor, tower.eval()


def small_pipeline(kind):
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanImageToVideoPipeline,
        WanPipeline,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    class OfficialLevels(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("unipc", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps

    tokenizer = small_tokenizer()
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        )
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.1, 2.0],
        **(VAE_22 if kind == "ti2v" else VAE_21),
    )  # fmt: skip
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    parts = {
        "tokenizer": tokenizer, "text_encoder": text_encoder.eval(), "vae": vae.eval(),
        "scheduler": scheduler,
    }  # fmt: skip
    if kind == "t2v-a14b":
        pipeline = WanPipeline(
            **parts, transformer=transformer(), transformer_2=transformer(), boundary_ratio=0.875
        )
    elif kind == "i2v-a14b":
        pipeline = WanImageToVideoPipeline(
            **parts, transformer=transformer(in_channels=12),
            transformer_2=transformer(in_channels=12), boundary_ratio=0.9,
        )  # fmt: skip
    elif kind == "ti2v":
        pipeline = WanImageToVideoPipeline(
            **parts, transformer=transformer(), expand_timesteps=True
        )
    else:
        positions = {"pos_embed_seq_len": 2 * CLIP_TOKENS} if kind == "flf2v" else {}
        processor, tower = eyes()
        pipeline = WanImageToVideoPipeline(
            **parts, image_processor=processor, image_encoder=tower,
            transformer=transformer(**IMAGE_KEYS, **positions),
        )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, OfficialLevels.from_config(scheduler.config)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two picture files of the video's size: smooth, so that the VAE has something to see."""
    folder = tmp_path_factory.mktemp("pictures")
    rows, columns = np.mgrid[0 : 2 * SIDE, 0 : 2 * SIDE] / SIDE
    paths = {}
    for name, phase in (("first", 0.0), ("last", 1.3)):
        waves = [np.sin(3 * rows * (c + 1) + columns * 2 + phase) for c in range(3)]
        big = Image.fromarray(((np.stack(waves, -1) + 1) * 127).astype(np.uint8))
        paths[name] = folder / f"{name}.png"
        big.resize((SIDE, SIDE)).save(paths[name])
        big.save(folder / f"{name}-64.png")
    return paths


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Makes and saves each pipeline once."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            with warnings.catch_warnings(), torch.random.fork_rng():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                pipeline, scheduler = small_pipeline(kind)
                pipeline.save_pretrained(folder)
            pipeline.scheduler = scheduler
            made[kind] = pipeline, folder
        return made[kind]

    return get


def theirs(pipeline, side=SIDE, frames=FRAMES, stride=8, **more):
    shape = (1, 4, (frames - 1) // 4 + 1, side // stride, side // stride)
    noise = torch.randn(shape[1:], generator=torch.Generator().manual_seed(3))[None]
    keys = {"guidance_scale": HIGH} | more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline(
            prompt=PROMPT, negative_prompt=NEGATIVE, height=side, width=side, num_frames=frames,
            num_inference_steps=STEPS, latents=noise, output_type="latent", **keys,
        ).frames  # fmt: skip


def ours(tmp_path, folder, variant, *overrides, side=SIDE, frames=FRAMES):
    sizes = (f"sample.height={side}", f"sample.width={side}", f"sample.frames={frames}")
    loaded = recipe(folder, f"model.variant={variant}", *sizes, *overrides)
    [path] = sample(loaded, PROMPT, tmp_path)
    return load_file(path.with_suffix(".safetensors"))["latents"], path


def assert_equal(got, expected):
    assert got.shape == expected.shape
    assert expected.std() > 0.3
    assert (got - expected).abs().max() <= 1e-4


def test_image_to_video_with_clip(saved, pictures, tmp_path):
    pipeline, folder = saved("i2v")
    got, path = ours(tmp_path, folder, "wan2.1-i2v-14b-480p", f"sample.image={pictures['first']}")
    expected = theirs(pipeline, image=Image.open(pictures["first"]))
    assert_equal(got, expected)
    other = theirs(pipeline, image=Image.open(pictures["last"]))
    assert (expected - other).abs().max() > 0.05, "the picture would not matter"
    said = read_metadata(path)
    assert said["task"] == "i2v"
    files = json.loads(said["input_files"])
    assert files["image"]["file"] == str(pictures["first"])
    assert len(files["image"]["sha256"]) == 64
    assert said["image_weights"] == str(folder / "image_encoder")


def test_first_and_last_frame_to_video(saved, pictures, tmp_path):
    pipeline, folder = saved("flf2v")
    keys = (f"sample.image={pictures['first']}", f"sample.last_image={pictures['last']}")
    got, _ = ours(tmp_path, folder, "wan2.1-flf2v-14b", *keys)
    first, last = (Image.open(pictures[name]) for name in ("first", "last"))
    assert_equal(got, theirs(pipeline, image=first, last_image=last))
    known = f"sample.known_frames={{0: {pictures['first']}, -1: {pictures['last']}}}"
    same, _ = ours(tmp_path, folder, "wan2.1-flf2v-14b", "sample.task=interpolation", known)
    assert torch.equal(same, got)


@pytest.mark.parametrize("last", [False, True])
def test_image_to_video_with_two_experts(saved, pictures, tmp_path, last):
    pipeline, folder = saved("i2v-a14b")
    keys = [f"sample.image={pictures['first']}", f"sample.guide_scale=[{LOW}, {HIGH}]"]
    more = {}
    if last:
        keys += ["sample.task=flf2v", f"sample.last_image={pictures['last']}"]
        more["last_image"] = Image.open(pictures["last"])
    got, path = ours(tmp_path, folder, "wan2.2-i2v-a14b", *keys)
    image = Image.open(pictures["first"])
    expected = theirs(pipeline, image=image, guidance_scale_2=LOW, **more)
    assert_equal(got, expected)
    swapped = theirs(pipeline, image=image, guidance_scale=LOW, guidance_scale_2=HIGH, **more)
    assert (expected - swapped).abs().max() > 1e-2, "the order of the scales would not matter"
    said = read_metadata(path)
    assert str(folder / "transformer_2") in said["dit_low_weights"]
    assert said["boundary"] == "0.9"


def test_text_to_video_with_two_experts(saved, tmp_path):
    pipeline, folder = saved("t2v-a14b")
    got, _ = ours(tmp_path, folder, "wan2.2-t2v-a14b", f"sample.guide_scale=[{LOW}, {HIGH}]")
    assert_equal(got, theirs(pipeline, guidance_scale_2=LOW))


def test_text_and_image_to_video_keeps_the_first_frame(saved, pictures, tmp_path):
    pipeline, folder = saved("ti2v")
    side = 2 * SIDE
    image = pictures["first"].with_name("first-64.png")
    got, _ = ours(tmp_path, folder, "wan2.2-ti2v-5b", f"sample.image={image}", side=side)
    assert_equal(got, theirs(pipeline, side=side, stride=16, image=Image.open(image)))


def test_both_layouts_of_two_experts_are_found(saved, tmp_path):
    from wanctl.model.components import find_components
    from wanctl.model.weights import load_dit, save_dit

    _, folder = saved("t2v-a14b")
    parts = find_components(folder)
    for part, name in ((parts, "high_noise_model"), (parts.low_expert, "low_noise_model")):
        save_dit(load_dit(part), tmp_path / "official" / name)
    official = find_components(tmp_path / "official")
    for one, other in ((parts, official), (parts.low_expert, official.low_expert)):
        a, b = load_dit(one).state_dict(), load_dit(other).state_dict()
        assert all(torch.equal(a[key], b[key]) for key in a)
    high, low = load_dit(official), load_dit(official.low_expert)
    assert not torch.equal(high.head.head.weight, low.head.head.weight)
