"""Two experts from nothing: trained from a data set, killed, sampled, opened by diffusers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.data.dataset import DatasetDir, clip_id
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.train.dit.run import train_dit
from wanctl.video.encode import read_metadata, write_video
from wanctl.video.probe import scan

RECIPE = """
dataset: {{path: {folder}/dataset}}
curate: {{decode: {{workers: 1}}}}
caption: {{backends: [sidecar]}}
model: {{variant: tiny-experts, vae_weights: {folder}/vae, weights: {weights}}}
train_dit:
  steps: 12
  clip_fps: 8
  buckets:
    - {{frames: 5, height: 32, width: 32}}
    - {{frames: 1, height: 32, width: 64, batch_size: 2}}
  expert_steps: 2
  expert_share: 0.5
  optimizer: {{lr: 0.001, warmup_steps: 2}}
  eval_every: 12
  preview_every: 12
  preview_steps: 2
  checkpoint_every: 5
  trackers: []
  windows_per_clip: 1
sample: {{frames: 5, height: 32, width: 32, steps: 4}}
"""
SMALL = DiTShape(dim=24, ffn_dim=24, num_layers=1, num_heads=1, text_dim=384, text_len=64)


def add_clip(folder, number):
    video = np.full((12, 40, 72, 3), 40 + 60 * number, dtype=np.uint8)
    for t in range(12):
        video[t, 4 + t : 20 + t, 8:30, number] = 200
    write_video(folder / f"{number}.mp4", video, 8)
    found = scan(folder / f"{number}.mp4")
    info = found.info
    start, end = int(found.pts[0]), int(found.pts[-1] + found.durations[-1])
    name = clip_id(info.content_hash, start, end)
    clip = {
        "id": name, "source": str(folder / f"{number}.mp4"), "content_hash": info.content_hash,
        "shot": 0, "start_pts": start, "end_pts": end, "time_base_num": info.time_base[0],
        "time_base_den": info.time_base[1], "num_frames": 12, "fps": info.fps,
        "width": info.width, "height": info.height, "rotation": 0, "sar_num": 1, "sar_den": 1,
    }  # fmt: skip
    verdict = {"id": name, "kept": True, "reasons": [], "scores": [], "weight": 1.0}
    text = f"a square, number {number}"
    return clip, verdict, {"id": name, "text": text, "variant": "default", "backend": "sidecar"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of two clips, a VAE, and a pair of experts smaller than the variant's."""
    folder = tmp_path_factory.mktemp("experts")
    dataset = DatasetDir.create_or_open(folder / "dataset")
    clips, verdicts, captions = zip(*(add_clip(folder, n) for n in range(2)), strict=True)
    dataset.write_part("clips", "part-00000", clips)
    dataset.write_part("selections/default", "", verdicts)
    dataset.write_part("captions/sidecar@1", "part-00000", captions)
    torch.manual_seed(0)
    save_vae(WanVAE(VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1)), folder / "vae")
    for part in ("dit", "dit_low"):
        save_dit(WanModel(SMALL), folder / "weights" / part)
    return folder


@pytest.fixture
def loaded(world, tmp_path):
    def load(*overrides, weights="null"):
        path = tmp_path / "experts.yaml"
        path.write_text(RECIPE.format(folder=world, weights=weights))
        return load_recipe(str(path), overrides)

    return load


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A run that starts from the small experts and is not interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "experts.yaml"
    path.write_text(RECIPE.format(folder=world, weights=world / "weights"))
    recipe = load_recipe(str(path), ())
    train_dit(recipe, folder / "run")
    return recipe, folder / "run"


def names_of_steps(run):
    lines = map(json.loads, (run / "dit/metrics.jsonl").read_text().splitlines())
    return ["high" if "high/loss" in line else "low" for line in lines if "eval" not in line]


def test_the_run_folder_is_sampled_with_both_experts_in_their_steps(trained, caplog):
    caplog.set_level("INFO", "wanctl")
    recipe, run = trained
    assert sorted(names_of_steps(run)) == ["high"] * 6 + ["low"] * 6
    (video,) = sample(recipe, "a square, number 1", run)
    assert "loading the high-noise expert" in caplog.text
    assert "loading the low-noise expert" in caplog.text
    header = read_metadata(video)
    assert header["dit_weights"].startswith(str(run / "dit/"))
    assert header["dit_low_weights"].startswith(str(run / "dit_low/"))


def test_trained_experts_go_before_those_of_the_recipe(trained, world):
    """Though the low-noise expert has a key of its own, which sampling reads first."""
    recipe, run = trained
    low = load_recipe(str(recipe.path), [f"model.low_weights={world / 'weights/dit_low'}"])
    (video,) = sample(low, "a square, number 1", run)
    assert read_metadata(video)["dit_low_weights"].startswith(str(run / "dit_low/"))


def test_diffusers_opens_both_experts(trained, tmp_path, world):
    from diffusers import WanTransformer3DModel

    _, run = trained
    convert(str(run), tmp_path / "diffusers", ConversionOptions("diffusers"))
    x, times, text = torch.randn(1, 16, 2, 4, 4), torch.tensor([600.0]), torch.randn(1, 64, 384)
    found = find_components(run)
    for components, name in ((found, "transformer"), (found.low_expert, "transformer_2")):
        peer = WanTransformer3DModel.from_pretrained(tmp_path / "diffusers" / name)
        with torch.inference_mode():
            ours, theirs = load_dit(components)(x, times, text), peer(x, times, text).sample
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    before = load_dit(find_components(world / "weights")).state_dict()
    assert not any(
        torch.equal(t, before[n]) for n, t in load_dit(found).state_dict().items() if t.ndim > 1
    )


@pytest.mark.slow
def test_killed_and_started_again_equals_uninterrupted(trained, tmp_path):
    recipe, full = trained
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "wanctl", "train-dit", "--recipe", str(recipe.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [*command, "--out", str(out)], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    checkpoint = out / "dit/checkpoints/step-000005"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    train_dit(recipe, out)
    for name in (
        "dit/metrics.jsonl",
        "dit/diffusion_pytorch_model.safetensors",
        "dit_low/diffusion_pytorch_model.safetensors",
        "dit/previews/step-000012.png",
    ):
        assert (out / name).read_bytes() == (full / name).read_bytes(), name


def test_random_experts_differ_and_another_way_of_training_needs_another_folder(loaded, tmp_path):
    train_dit(loaded("train_dit.steps=2", "train_dit.expert_steps=1"), tmp_path / "run")
    found = find_components(tmp_path / "run")
    high, low = (load_dit(c).state_dict() for c in (found, found.low_expert))
    assert not torch.equal(high["blocks.0.ffn.0.weight"], low["blocks.0.ffn.0.weight"])
    with pytest.raises(UserError, match=r"trained with experts high, low around 0\.875, this run"):
        train_dit(loaded("train_dit.experts=low", "train_dit.steps=6"), tmp_path / "run")


def test_mistakes_with_experts_are_one_line(loaded, world, tmp_path):
    one = tmp_path / "one"
    shutil.copytree(world / "weights/dit", one)
    cases = [
        (("model.variant=tiny", f"model.weights={world / 'weights'}"), "holds two transformers"),
        ((f"model.weights={one}",), "holds no low-noise expert, which is to be trained"),
        (("train_dit.expert_steps=50",), "train_dit.expert_steps: got 50; in 12 steps the"),
        (("train_dit.timesteps.mean=-50",), "train_dit.timesteps: law logit_normal draws no"),
    ]
    for overrides, message in cases:
        with pytest.raises(UserError, match=message) as error:
            train_dit(loaded(*overrides), tmp_path / "out")
        assert "\n" not in str(error.value)


def test_each_expert_has_its_own_adapter_which_sampling_finds(loaded, world, tmp_path, caplog):
    caplog.set_level("INFO", "wanctl")
    recipe = loaded(
        "train_dit.adapter={rank: 2}", "train_dit.steps=4", "train_dit.optimizer.lr=0.1",
        weights=world / "weights",
    )  # fmt: skip
    run = tmp_path / "run"
    train_dit(recipe, run)
    assert not list(run.glob("dit*/diffusion_pytorch_model*")), "a frozen base is not written"
    caplog.clear()
    (video,) = sample(recipe, "a square, number 1", run)
    adapters = [r.getMessage() for r in caplog.records if "adapter of this run" in r.getMessage()]
    for name, line in zip(("dit", "dit_low"), adapters, strict=True):
        assert str(run / name) in line
    assert "was trained on other weights" not in caplog.text
    loras = read_metadata(video)["loras"]
    assert "1 high; " in loras
    assert loras.endswith("1 low")
