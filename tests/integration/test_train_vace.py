"""VACE from a text-to-video model: trained from a data set, continued, sampled from files."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.integration.test_train_experts import add_clip
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.train.dit.run import train_dit
from wanctl.video.encode import write_png

pytestmark = pytest.mark.slow  # 15 s of CPU time

RECIPE = """
dataset: {{path: {folder}/dataset}}
curate: {{decode: {{workers: 1}}}}
caption: {{backends: [sidecar]}}
model: {{variant: tiny-vace, vae_weights: {folder}/vae, weights: {folder}/base}}
device: cpu
train_dit:
  steps: 4
  clip_fps: 8
  buckets:
    - {{frames: 5, height: 32, width: 32}}
    - {{frames: 1, height: 32, width: 48, batch_size: 2}}
  conditions: {{draws_per_window: 2}}
  vace: {{references: 0.6, kinds: {{flow: 0, layout: 0}}}}
  optimizer: {{lr: 0.003, warmup_steps: 0}}
  holdout: 0
  eval_every: 4
  preview_every: 4
  preview_steps: 2
  checkpoint_every: 2
  trackers: []
  windows_per_clip: 1
sample: {{height: 32, width: 48, steps: 2, frames: null}}
"""
BASE = DiTShape(dim=24, ffn_dim=24, num_layers=2, num_heads=1, text_dim=384, text_len=64)


@pytest.fixture(scope="module", autouse=True)
def small_variant():
    """The variant's control blocks on a base of two layers."""
    patch = pytest.MonkeyPatch()
    tiny = VARIANTS["tiny-vace"]
    patch.setitem(VARIANTS, "tiny-vace", replace(tiny, dit=replace(BASE, vace_layers=(0, 1))))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of two clips, a VAE, and a text-to-video model."""
    folder = tmp_path_factory.mktemp("vace")
    dataset = DatasetDir.create_or_open(folder / "dataset")
    clips, verdicts, captions = zip(*(add_clip(folder, n) for n in range(2)), strict=True)
    dataset.write_part("clips", "part-00000", clips)
    dataset.write_part("selections/default", "", verdicts)
    dataset.write_part("captions/sidecar@1", "part-00000", captions)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_vae(WanVAE(VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1)), folder / "vae")
        base = WanModel(BASE)
        for parameter in base.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        save_dit(base, folder / "base/dit")
    return folder


@pytest.fixture(scope="module")
def load(world):
    def read(*overrides):
        path = world / "small-vace.yaml"
        path.write_text(RECIPE.format(folder=world))
        return load_recipe(str(path), overrides)

    return read


@pytest.fixture(scope="module")
def trained(world, load):
    train_dit(load(), world / "run")
    return world / "run"


def test_the_base_is_kept_and_checkpoints_hold_the_control_blocks_alone(world, trained):
    assert (trained / "dit/controls.png").stat().st_size > 10_000
    base, model = load_dit(world / "base"), load_dit(trained / "dit")
    assert model.shape.vace_layers == (0, 1)
    kept = model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in base.state_dict().items())
    assert model.vace_blocks[1].after_proj.weight.any()
    newest = max((trained / "dit/checkpoints").iterdir())
    [weights] = [load_file(path) for path in newest.glob("model*.safetensors")]
    assert weights
    assert all(name.startswith("vace_") for name in weights)


def test_a_run_in_two_parts_ends_with_the_same_bits(world, load, trained):
    for steps in (2, 4):
        train_dit(load(f"train_dit.steps={steps}"), world / "parts")
    ours, theirs = (load_dit(each / "dit").state_dict() for each in (world / "parts", trained))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_run_is_sampled_from_a_video_and_a_reference(world, load, trained):
    video = min((world / "dataset/training").glob("*/*.mp4"))
    thing = world / "thing.png"
    write_png(thing, np.full((20, 30, 3), (200, 40, 40), np.uint8))
    inputs = [
        f"sample.video={video}", "sample.vace.control=scribble", f"sample.references=[{thing}]",
    ]  # fmt: skip
    [path] = sample(load(*inputs), "a square", trained)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.weights=null"], "model.weights: got null, which names no transformer; control"),
        (
            ["model.weights={folder}/other"],
            "model.weights: the base has num_layers 1; the variant's control blocks need "
            "num_layers 2",
        ),
    ],
)
def test_a_start_that_cannot_be_is_one_line(world, load, tmp_path, overrides, message):
    if not (world / "other").exists():
        save_dit(WanModel(replace(BASE, num_layers=1)), world / "other/dit")
    with pytest.raises(UserError) as caught:
        train_dit(load(*(each.format(folder=world) for each in overrides)), tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
