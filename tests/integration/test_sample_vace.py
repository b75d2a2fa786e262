"""`wanctl sample` with VACE: from files to a video, and every bad file in one line."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata, write_video

PROMPT = "a red fox"
HEIGHT, WIDTH = 32, 48


@pytest.fixture(autouse=True)
def a_tiny_variant_for_it(monkeypatch):
    """The demo's sizes and its packaged text encoder, for another task."""
    monkeypatch.setitem(VARIANTS, "tiny", replace(VARIANTS["tiny"], tasks=("vace", "t2v")))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Footage, masks and pictures."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (6, 4, 6, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    write_video(folder / "clip.mp4", frames, 12)
    white = np.zeros((HEIGHT, WIDTH), np.uint8)
    white[8:24, 8:24] = 255
    Image.fromarray(white).save(folder / "mask.png")
    Image.fromarray(255 - white).save(folder / "inverse.png")
    Image.fromarray(white[:16]).save(folder / "flat.png")
    Image.fromarray(frames[0]).save(folder / "photo.png")
    Image.fromarray(frames[1][:, :20]).save(folder / "thing.png")
    (folder / "broken.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:900])
    write_video(folder / "mask5.mp4", np.repeat(white[None, ..., None], 3, 3).repeat(5, 0), 12)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run folder with a random control model of the demo's sizes."""
    out = tmp_path_factory.mktemp("run")
    tiny = VARIANTS["tiny"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dit = WanModel(replace(tiny.dit, num_layers=2, vace_layers=(0, 1)))
        for parameter in dit.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        save_dit(dit, out / "dit")
        save_vae(WanVAE(tiny.vae), out / "vae")
    return out


def recipe(files, *overrides, **inputs):
    named = [f"sample.{key}={files / name}" for key, name in inputs.items()]
    plain = [
        "sample.task=vace", "sample.steps=2", "device=cpu", "sample.save_latents=true",
        f"sample.height={HEIGHT}", f"sample.width={WIDTH}", "sample.frames=null",
    ]  # fmt: skip
    return load_recipe("tiny", [*plain, *named, *overrides])


def latents(path):
    return load_file(path.with_suffix(".safetensors"))["latents"]


def test_footage_mask_and_references_make_a_video_of_the_footage_s_size(model, files):
    loaded = recipe(
        files, f"sample.references=[{files / 'thing.png'}]", "sample.vace.control=blank",
        "sample.vace.mask_expand=0.2", video="clip.mp4", mask="mask.png",
    )  # fmt: skip
    [path] = sample(loaded, PROMPT, model)
    with av.open(str(path)) as container:
        shapes = [(frame.height, frame.width) for frame in container.decode(video=0)]
    assert shapes == [(HEIGHT, WIDTH)] * 5
    assert latents(path).shape == (1, 16, 2, HEIGHT // 8, WIDTH // 8)
    said = read_metadata(path)
    assert set(json.loads(said["input_files"])) == {"video", "mask", "references.0"}
    assert "blank" in said["vace"]


def test_the_control_reaches_the_model_as_strongly_as_it_is_told(model, files):
    strong, weak = {}, {}
    for made, scale, controls in (
        (strong, 1, ("source", "blank", "grey", "scribble", "flow")),
        (weak, 0, ("source", "flow")),
    ):
        for control in controls:
            loaded = recipe(
                files, f"sample.vace.control={control}", f"sample.vace.scale={scale}",
                video="clip.mp4", mask="mask.png",
            )  # fmt: skip
            [path] = sample(loaded, PROMPT, model)
            made[control] = latents(path)
    assert all(torch.equal(each, weak["source"]) for each in weak.values())
    names = list(strong)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert (strong[name] - strong[other]).abs().max() > 1e-4, (name, other)


@pytest.mark.parametrize(
    ("overrides", "inputs", "frames"),
    [
        ([], {}, 17),
        (["sample.frames=9"], {"image": "photo.png"}, 9),
        (["sample.frames=9"], {"image": "photo.png", "last_image": "thing.png"}, 9),
        (["sample.vace.extend=[0, 4]"], {"video": "clip.mp4"}, 9),
        (["sample.vace.outpaint=[0, 0.5, 0, 0.5]"], {"video": "clip.mp4"}, 5),
        (["sample.given_frames=1"], {"video": "clip.mp4"}, 1),
        (["sample.vace.layout=[{boxes: {0: [0, 0, 0.5, 1], 16: [0.5, 0, 1, 1]}}]"], {}, 17),
    ],
)
def test_every_way_of_using_it_gives_its_number_of_frames(model, files, overrides, inputs, frames):
    [path] = sample(recipe(files, "sample.steps=1", *overrides, **inputs), PROMPT, model)
    assert path.suffix == (".png" if frames == 1 else ".mp4")
    assert latents(path).shape[2] == (frames - 1) // 4 + 1


def test_another_mask_or_another_preparation_is_another_output(model, files):
    paths = {
        sample(recipe(files, "sample.steps=1", *more, video="clip.mp4", mask=mask), PROMPT, model)[
            0
        ]
        for mask, *more in (
            ("mask.png",),
            ("inverse.png",),
            ("mask.png", "sample.vace.mask_form=hull"),
            ("mask.png", "sample.vace.scale=0.5"),
        )
    }
    assert len(paths) == 4


@pytest.mark.parametrize(
    ("overrides", "inputs", "message"),
    [
        ([], {"video": "clip.mp4", "mask": "flat.png"}, r"mask: .*flat\.png: is 48x16 and the"),
        ([], {"video": "clip.mp4", "mask": "photo.png"}, r"mask: .*photo\.png: .* 3 colour"),
        ([], {"video": "clip.mp4", "mask": "mask5.mp4"}, r"mask: .* has 5 frames and the video 6"),
        ([], {"video": "broken.mp4"}, r"sample\.video: .*broken\.mp4"),
        ([], {"video": "nowhere.mp4"}, r"sample\.video: .*nowhere\.mp4: no such file"),
        ([], {"mask": "mask.png"}, r"sample\.mask: needs a video"),
        (["sample.vace.control=grye"], {"video": "clip.mp4"}, "did you mean 'grey'"),
        (["sample.vace.extend=[0, 4]"], {}, r"sample\.vace\.extend: needs a video"),
        (["sample.frames=9"], {"video": "clip.mp4"}, r"sample\.frames: got 9; the video makes 5"),
        (["sample.task=t2v", "sample.vace.scale=0.5"], {}, r"sample\.vace: task t2v takes none"),
        (["sample.references=[/nowhere.png]"], {}, r"sample\.references: .*no such file"),
    ],
)
def test_a_bad_wish_is_one_line_and_writes_nothing(tmp_path, files, overrides, inputs, message):
    with pytest.raises(UserError, match=message) as caught:
        sample(recipe(files, *overrides, **inputs), PROMPT, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_model_without_control_blocks_is_refused(tmp_path, files):
    tiny = VARIANTS["tiny"]
    save_dit(WanModel(replace(tiny.dit, num_layers=1)), tmp_path / "dit")
    save_vae(WanVAE(tiny.vae), tmp_path / "vae")
    with pytest.raises(UserError, match="cannot do task vace: it has no control blocks"):
        sample(recipe(files), PROMPT, tmp_path)
