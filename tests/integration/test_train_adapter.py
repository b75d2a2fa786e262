"""`train-dit` with an adapter, and `sample` with what it wrote."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from training_world import SMALL_VAE, make_data_set, write_vae

from wanctl.checkpoint.lora.write import find_adapter
from wanctl.checkpoint.save import save_dit
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.train.dit.run import train_dit

RECIPE = """
caption: {{backends: [sidecar]}}
device: cpu
dataset: {{path: {dataset}}}
model: {{variant: tiny, weights: {base}}}
sample: {{frames: 1, height: 32, width: 32, steps: 2, guide_scale: 1, seed: 3}}
train_dit:
  steps: 4
  clip_fps: 8
  buckets: [{{frames: 1, height: 32, width: 32, batch_size: 2}}]
  optimizer: {{lr: 0.01, warmup_steps: 1}}
  holdout: 0.3
  eval_every: 4
  preview_every: 4
  preview_steps: 1
  checkpoint_every: 2
  trackers: []
  windows_per_clip: 1
  adapter: {{rank: 4, alpha: 8}}
"""
DIT = DiTShape(
    dim=32, ffn_dim=64, num_layers=2, num_heads=2, in_channels=SMALL_VAE.z_dim,
    out_channels=SMALL_VAE.z_dim, text_dim=384, text_len=64, freq_dim=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set, and a run folder with a transformer and a VAE."""
    folder = tmp_path_factory.mktemp("world")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(DIT)
        torch.nn.init.normal_(model.head.head.weight, std=0.1)
        save_dit(model, folder / "base/dit")
        write_vae(folder / "base/vae")
    return make_data_set(folder), folder / "base"


@pytest.fixture
def loaded(world, tmp_path):
    def load(*overrides):
        path = tmp_path / "small.yaml"
        path.write_text(RECIPE.format(dataset=world[0], base=world[1]))
        return load_recipe(str(path), overrides)

    return load


@pytest.mark.parametrize(("kind", "base"), [("lora", "keep"), ("dora", "int8")])
def test_an_adapter_is_trained_found_and_sampled(loaded, world, tmp_path, caplog, kind, base):
    caplog.set_level("INFO", "wanctl")
    keys = (f"train_dit.adapter.kind={kind}", f"train_dit.adapter.base={base}")
    out = tmp_path / "out"
    train_dit(loaded(*keys), out)
    assert f"trains a {kind} of rank 4 on 20 layers" in caplog.text
    assert not (out / "dit/config.json").exists()
    adapter = find_adapter(out / "dit")
    (adapted,) = sample(loaded(*keys), "a square", out)
    assert f"adapter of this run: {adapter} (step 4), on {world[1] / 'dit'}" in caplog.text
    assert "was trained on other weights" not in caplog.text
    (plain,) = sample(loaded(*keys), "a square", tmp_path / "none")
    assert adapted.read_bytes() != plain.read_bytes()
    caplog.clear()
    train_dit(loaded(*keys), out)
    assert "train-dit: finished before" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("adapter.targets=[self_atn]",), r"targets.0.layers: got 'self_atn'.*near are self_attn"),
        (("adapter.targets={ffn: {rank: 64}}",), r"rank: got 64 for ffn, but blocks.0.ffn.0 is"),
        (("adapter=null", "trained=[blocks.7]"), r"trained.0: got 'blocks.7'.* no parameter"),
    ],
)
def test_what_the_transformer_does_not_have(loaded, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        train_dit(loaded(*(f"train_dit.{each}" for each in overrides)), tmp_path / "out")
    assert not (tmp_path / "out/dit/checkpoints").exists()


def test_an_adapter_needs_a_transformer(loaded, world, tmp_path):
    keys = ("model.weights=null", f"model.vae_weights={world[1] / 'vae'}")
    with pytest.raises(UserError, match=r"model.weights: got null, which names no transformer"):
        train_dit(loaded(*keys), tmp_path / "out")
