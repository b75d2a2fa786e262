"""Keys that save time or memory, through the whole command, against the plain sample."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample

SIZE = ["sample.frames=5", "sample.height=64", "sample.width=96", "sample.steps=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with untrained weights of the demo's sizes, and what comes of them plainly."""
    out = tmp_path_factory.mktemp("savings")
    tiny = VARIANTS["tiny"]
    torch.manual_seed(0)
    model = WanModel(tiny.dit)
    torch.nn.init.normal_(model.head.head.weight, std=0.05)
    save_dit(model, out / "dit")
    save_vae(WanVAE(tiny.vae), out / "vae")
    return out


def latents(folder, *overrides):
    keys = [*SIZE, "sample.save_latents=true", *overrides]
    (path,) = sample(load_recipe("tiny", keys), "a fox", folder)
    return path, load_file(path.with_suffix(".safetensors"))["latents"]


@pytest.fixture(scope="module")
def plain(folder):
    return latents(folder)


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_streaming_and_tiles_leave_the_picture_as_it_is(folder):
    wide = ["sample.frames=1", "sample.height=32", "sample.width=240", "sample.steps=1"]
    path, made = latents(folder, *wide)
    other_path, other = latents(folder, *wide, "model.stream_blocks=true", "model.vae_tile=224")
    assert torch.equal(other, made)
    assert other_path != path
    pixels, other_pixels = (np.asarray(Image.open(each)).astype(int) for each in (path, other_path))
    assert abs(pixels - other_pixels).max() <= 1


@pytest.mark.parametrize(
    ("key", "worst"),
    [
        ("model.attention=math", 1e-5),
        ("model.quantize=int8", 0.05),
        ("model.quantize=fp8", 0.2),
        ("sample.step_cache=0.5", 0.5),
        ("sample.guide_until=0.5", 0.5),
    ],
)
def test_what_changes_the_video_is_named_by_it_and_stays_near(folder, plain, key, worst):
    path, made = latents(folder, key)
    assert path != plain[0]
    assert 0 < distance(made, plain[1]) < worst


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model.attention=fa3", "model.attention: 'fa3' runs on CUDA"),
        ("model.attention=flash3", "model.attention: no kernel named 'flash3'"),
        ("model.quantize=fp8-dynamic", "needs bf16 and a GPU of capability 8.9"),
        ("model.vae_tile=250", "model.vae_tile: got 250; must be a multiple of 8"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_cannot_be_had_here_is_one_line(folder, key, message):
    with pytest.raises(UserError, match=message) as caught:
        latents(folder, key, "sample.seed=7")
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_one_line_with_a_way_out(folder, monkeypatch):
    monkeypatch.setattr("wanctl.estimate.hardware.available_host_memory", lambda: 2.0e9)
    with pytest.raises(UserError, match=r"not enough memory: .* GB free") as caught:
        latents(folder, "sample.height=640", "sample.width=640")
    assert "\n" not in str(caught.value)
    assert "--set model." in str(caught.value)


def test_a_plan_needs_no_weights_and_makes_nothing(tmp_path, capsys):
    out = tmp_path / "nothing"
    assert sample(load_recipe("wan2.1-t2v-14b", ["device=cpu"]), "a fox", out, plan_only=True) == []
    said = capsys.readouterr().out
    assert "denoising" in said
    assert "in all, at the peak" in said
    assert not out.exists()


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A file in PEFT's layout that changes every query of the self-attention."""
    shape, generator = VARIANTS["tiny"].dit, torch.Generator().manual_seed(1)
    tensors = {}
    for block in range(shape.num_layers):
        layer = f"diffusion_model.blocks.{block}.self_attn.q"
        tensors[f"{layer}.lora_A.weight"] = torch.randn(4, shape.dim, generator=generator)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(shape.dim, 4, generator=generator) / 4
    path = tmp_path_factory.mktemp("lora") / "queries.safetensors"
    save_file(tensors, path)
    return path


def test_a_lora_changes_the_sample_merged_and_beside_8_bits(folder, plain, lora):
    def with_lora(strength, *more):
        entry = f"[{{path: {lora}, strength: {strength}}}]"
        return latents(folder, f"model.loras={entry}", *more)

    _, none = with_lora(0.0)
    path, full = with_lora(1.0)
    _, beside = with_lora(1.0, "model.quantize=int8")
    assert torch.equal(none, plain[1])
    assert path != plain[0]
    changed = distance(full, plain[1])
    assert changed > 0.01
    assert distance(beside, full) < changed / 2


SMALL = ("sample.frames=1", "sample.height=32", "sample.width=48", "sample.steps=3")
PHASES = "sample.phases=[{steps: 1, lora_strengths: %s, guide_scale: 3}, {guide_scale: 1}]"


def test_phases_change_the_strength_of_loras_between_steps(folder, lora):
    loras = (*SMALL, f"model.loras=[{{path: {lora}, strength: 1.5}}]")
    _, full = latents(folder, *loras, "sample.guide_scale=1")
    one = "sample.phases=[{steps: 2, guide_scale: 1}, {steps: 1, guide_scale: 1}]"
    path, same = latents(folder, *loras, one)
    assert torch.equal(same, full)
    assert path.name not in {each.name for each in folder.glob("*.png")}
    _, first_without = latents(folder, *loras, PHASES % 0)
    _, first_with = latents(folder, *loras, PHASES % [1])
    assert distance(first_without, first_with) > 0.003
    with pytest.raises(UserError, match=r"phases\.0\.lora_strengths: got 2 for the LoRAs q"):
        latents(folder, *loras, PHASES % [1, 1])


def test_noise_between_steps_is_an_outputs_own(folder, lora):
    """The same latents alone and in a batch, with a LoRA that changes its strength."""
    keys = (
        *SMALL, f"model.loras=[{{path: {lora}}}]", PHASES % 0, "sample.solver=lcm",
        "sample.levels=[1, 0.9, 0.6]", "sample.save_latents=true",
    )  # fmt: skip
    together = sample(load_recipe("tiny", keys), "a fox", folder, repeat=3)
    made = [load_file(path.with_suffix(".safetensors"))["latents"] for path in together]
    _, alone = latents(folder.parent / "alone", *keys, "sample.seed=1", f"model.weights={folder}")
    torch.testing.assert_close(made[1], alone, atol=1e-4, rtol=0)
    assert distance(made[0], made[1]) > 0.1
