"""`wanctl sample` on picture models and on two experts, against diffusers' own pipelines.

What diffusers does otherwise is switched to its side, or kept out of the comparison:
the noise levels (theirs are replaced by the official ones), the guide scale and the shift (both are
said), the order of the two guide scales, resizing for the VAE (Lanczos there, bicubic here) and for
CLIP (cut out of the middle there, stretched here): the pictures have the size of the video, which
is a square and the size that CLIP takes.
"""

import json
import shutil
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
from wanctl.checkpoint.load import load_vae
from wanctl.cli.main import main
from wanctl.diffusion.schedules import make_schedule
from wanctl.errors import UserError
from wanctl.model.variant_table import VARIANTS
from wanctl.sample import pipeline
from wanctl.sample.denoise import expert_loader
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata, write_video

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
    assert (got - expected).abs().max() <= 2e-5  # measured 2.5e-6


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
    files = {"weights": tmp_path / "high.safetensors", "low_weights": tmp_path / "low.safetensors"}
    for path, part in zip(files.values(), ("transformer", "transformer_2"), strict=True):
        keys = ("--layout", "single", "--part", part)
        with pytest.raises(SystemExit, match="0"):
            main(["weights", "convert", str(folder), str(path), *keys])
    files |= {"vae_weights": folder, "text_weights": folder}
    keys = [f"model.{key}={path}" for key, path in files.items()]
    guide = f"sample.guide_scale=[{LOW}, {HIGH}]"
    same, _ = ours(tmp_path / "files", folder, "wan2.2-t2v-a14b", guide, *keys)
    assert_equal(same, got)  # to the bit where both lie equally aligned in memory


@pytest.mark.parametrize(("parked", "lots"), [pytest.param(8, 1, marks=pytest.mark.slow), (2, 2)])
def test_each_expert_is_loaded_once_for_several_batches(saved, tmp_path, monkeypatch, parked, lots):
    _, folder = saved("t2v-a14b")
    load_dit, loaded = expert_loader.load_dit, []

    def counted(*args, **keys):
        loaded.append(keys["expert"])
        return load_dit(*args, **keys)

    monkeypatch.setattr(expert_loader, "load_dit", counted)
    monkeypatch.setattr(pipeline, "MAX_PENDING", parked)
    frames = (1, 5, 9)  # of three shapes, so that none share a batch
    prompts = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"prompt": PROMPT, "frames": number}) for number in frames]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    keys = ("model.variant=wan2.2-t2v-a14b", "sample.step_cache=0.05", "sample.width=32")
    made = sample(recipe(folder, *keys), str(prompts), tmp_path)
    assert loaded == ["high", "low"] * lots
    for number, path in zip(frames, made, strict=True):
        [alone] = sample(recipe(folder, *keys, f"sample.frames={number}"), PROMPT, tmp_path / "one")
        assert alone.name == path.name
        got, expected = (load_file(p.with_suffix(".safetensors"))["latents"] for p in (path, alone))
        assert (got - expected).abs().max() <= 2e-5  # weights lie elsewhere in memory


def test_text_and_image_to_video_keeps_the_first_frame(saved, pictures, tmp_path):
    pipeline, folder = saved("ti2v")
    side = 2 * SIDE
    image = pictures["first"].with_name("first-64.png")
    got, _ = ours(tmp_path, folder, "wan2.2-ti2v-5b", f"sample.image={image}", side=side)
    assert_equal(got, theirs(pipeline, side=side, stride=16, image=Image.open(image)))


def test_both_layouts_of_two_experts_are_found(saved, tmp_path):
    from wanctl.checkpoint.find import find_components
    from wanctl.checkpoint.load import load_dit
    from wanctl.checkpoint.save import save_dit

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


def test_the_name_of_an_output_follows_the_contents_of_its_files(saved, pictures, tmp_path):
    _, folder = saved("i2v-a14b")
    base = ("sample.steps=1", "sample.guide_scale=1", f"sample.boundary={0.0}")

    def name(image, *more):
        return ours(
            tmp_path, folder, "wan2.2-i2v-a14b", *base, f"sample.image={image}", *more, frames=5
        )[1].name

    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures["first"].read_bytes())
    assert name(pictures["first"]) == name(copy)
    copy.write_bytes(pictures["last"].read_bytes())
    names = {
        name(pictures["first"]),
        name(copy),
        name(copy, "sample.fit=exact"),
        name(copy, "sample.task=flf2v", f"sample.last_image={copy}"),
    }
    assert len(names) == 4


@pytest.mark.parametrize("kind", ["i2v-a14b", "ti2v"])
def test_footage_is_continued(saved, tmp_path, kind):
    _, folder = saved(kind)
    side, variant = (32, "wan2.2-i2v-a14b") if kind == "i2v-a14b" else (64, "wan2.2-ti2v-5b")
    grey = [np.full((side, side, 3), 8 * n, np.uint8) for n in range(30)]
    write_video(tmp_path / "footage.mp4", iter(grey), 24, crf=1)
    keys = (
        "sample.task=continuation", f"sample.video={tmp_path / 'footage.mp4'}",
        "sample.given_frames=5", "sample.steps=2",
    )  # fmt: skip
    got, path = ours(tmp_path, folder, variant, *keys, side=side)
    assert path.suffix == ".mp4"
    assert got.shape == (1, 4, 3, 4, 4)
    assert json.loads(read_metadata(path)["input_files"])["video"]["file"].endswith("footage.mp4")
    if kind == "ti2v":  # the latents of what is given are there as they were
        rate = VARIANTS[variant].defaults.fps
        assert rate == 24
        video = np.stack(grey[-5:]).astype(np.float32) / 127.5 - 1
        pixels = torch.from_numpy(video).permute(3, 0, 1, 2)[None]
        expected = load_vae(folder).encode(pixels)
        assert (got[:, :, :2] - expected).abs().max() < 0.05  # what H.264 changed
        assert expected.std() > 0.2


BAD = {
    "no picture": ([], "sample.image: task i2v needs one; say `--set sample.image=FILE`"),
    "no such picture": (["sample.image=no.png"], "sample.image: no.png: no such file"),
    "no picture at all": (["sample.image=text.png"], "text.png: not a picture that can be read"),
    "a picture that is cut off": (["sample.image=cut.png"], "cut.png: not a picture that can be"),
    "a strip": (["sample.image=strip.png"], "sample.image: got a picture of 9000x2; too narrow"),
    "frames": (["sample.image=a.png", "sample.frames=80"], "sample.frames: got 80; must be 4n+1"),
    "one frame": (["sample.image=a.png", "sample.frames=1"], "sample.frames: got 1; task i2v"),
    "a size": (
        ["sample.image=a.png", "sample.fit=exact", "sample.height=484"],
        "sample.height: got 484; must be a multiple of 16",
    ),
    "a task of another model": (["sample.task=t2v"], "wan2.2-i2v-a14b cannot do t2v, it does i2v"),
    "a key of another task": (
        ["sample.image=a.png", "sample.mask=a.png"], "sample.mask: task i2v takes none",
    ),
    "half of two": (["sample.task=flf2v", "sample.image=a.png"], "sample.last_image: task flf2v"),
    "a frame that is not there": (
        ["sample.task=interpolation", "sample.known_frames={81: a.png}"],
        "sample.known_frames: got frame 81; the video has frames 0 to 80",
    ),
    "footage that is none": (
        ["sample.task=continuation", "sample.video=text.mp4"],
        "sample.video: text.mp4: not a video",
    ),
    "footage that is cut off": (
        ["sample.task=continuation", "sample.video=cut.mp4"], "sample.video: cut.mp4: ",
    ),
    "too little footage": (
        ["sample.task=continuation", "sample.video=short.mp4"], "lasts 0.50 s; 25 frames at 16 fps",
    ),
    "three scales": (["sample.guide_scale=[1, 2, 3]"], "sample.guide_scale: got [1, 2, 3]; must"),
    "one transformer": (["sample.image=a.png", "model.weights=one"], "holds one transformer and"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory, saved):
    folder = tmp_path_factory.mktemp("bad")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "a.png")
    Image.new("RGB", (9000, 2)).save(folder / "strip.png")
    frames = rng.integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    write_video(folder / "short.mp4", iter(frames), 12)
    for name, source in (("cut.png", "a.png"), ("cut.mp4", "short.mp4")):
        whole = (folder / source).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "text.mp4"):
        (folder / name).write_text("neither", encoding="utf-8")
    _, weights = saved("ti2v")
    (folder / "one").symlink_to(weights)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_costs_one_line_and_exit_code_2(name, bad_files, monkeypatch, capsys):
    monkeypatch.chdir(bad_files)
    before = set(bad_files.iterdir())
    overrides, wanted = BAD[name]
    sets = [part for each in overrides for part in ("--set", each)]
    with pytest.raises(SystemExit) as stop:
        main(["sample", "a fox", "--recipe", "wan2.2-i2v-a14b", *sets])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert wanted in line
    assert set(bad_files.iterdir()) == before, "nothing is half-written"


def test_weights_of_another_kind_are_told_apart(saved, pictures, tmp_path):
    _, words = saved("ti2v")
    keys = (f"sample.image={pictures['first']}",)
    with pytest.raises(UserError, match="cannot do task i2v: it has no channels for pictures"):
        ours(tmp_path, words, "wan2.1-i2v-14b-480p", *keys)
    _, two = saved("i2v-a14b")
    with pytest.raises(UserError, match="holds two transformers and wan2"):
        ours(tmp_path, two, "wan2.1-i2v-14b-480p", *keys)


def test_a_model_that_looks_at_pictures_needs_its_eyes(saved, pictures, tmp_path):
    from wanctl.checkpoint.find import find_components

    _, folder = saved("i2v")
    blind = tmp_path / "blind"
    shutil.copytree(folder, blind, ignore=shutil.ignore_patterns("image_encoder"))
    keys = (f"sample.image={pictures['first']}", "sample.steps=1")
    with pytest.raises(UserError, match=r"no CLIP vision tower.*model\.image_weights=PATH"):
        ours(tmp_path, blind, "wan2.1-i2v-14b-480p", *keys)
    eyes = folder / "image_encoder"
    assert find_components(eyes).image_encoder == eyes
    given, _ = ours(tmp_path, blind, "wan2.1-i2v-14b-480p", *keys, f"model.image_weights={eyes}")
    whole, _ = ours(tmp_path, folder, "wan2.1-i2v-14b-480p", *keys)
    assert torch.equal(given, whole)
