"""Groups of processes that compute each sample together train as single processes do, on gloo."""

import json

import pytest

from tests.integration.test_parallel import torchrun
from tests.integration.test_train import make_data_set, write_vae
from wanctl.recipe.load import load_recipe
from wanctl.train.dit.run import train_dit

pytestmark = pytest.mark.slow  # each process imports everything: 20 s a test

RECIPE = """
curate: {{decode: {{workers: 1}}}}
caption: {{backends: [sidecar]}}
device: cpu
model: {{variant: tiny, vae_weights: {vae}}}
dataset: {{path: {dataset}}}
train_dit:
  steps: 4
  clip_fps: 8
  buckets:
    - {{frames: 5, height: 32, width: 48, batch_size: 2}}
    - {{frames: 1, height: 48, width: 80}}
  optimizer: {{lr: 0.001, warmup_steps: 2}}
  tasks: {{t2v: 1, ti2v: 1, t2i: 1}}
  holdout: 0.3
  eval_every: 4
  preview_every: 4
  preview_steps: 2
  log_every: 1
  checkpoint_every: 2
  trackers: []
  windows_per_clip: 1
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A recipe of tiny sizes, with its data set and VAE."""
    folder = tmp_path_factory.mktemp("world")
    write_vae(folder / "vae")
    dataset = make_data_set(folder / "footage")
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(vae=folder / "vae", dataset=dataset), encoding="utf-8")
    return path


def figures(run):
    """Every figure of a run's metrics, by step and kind."""
    lines = map(json.loads, (run / "dit/metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {
        (line["step"], "eval" in line, name): value
        for line in lines
        for name, value in line.items()
        if isinstance(value, float)
    }


def train_together(processes, recipe, out, *keys):
    sets = [part for key in keys for part in ("--set", key)]
    done = torchrun(processes, "-m", "wanctl", "train-dit", "--recipe", recipe, "--out", out, *sets)
    assert done.returncode == 0, done.stderr[-4000:]
    return figures(out), done.stderr


def check_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert sum(not is_eval for _, is_eval, _ in theirs) >= 4 * 3
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, rel=1e-5, abs=1e-7), key


@pytest.mark.parametrize("kind", ["ulysses", "ring"])
def test_two_processes_that_share_each_sample_train_as_one(world, tmp_path, kind):
    train_dit(load_recipe(str(world)), tmp_path / "alone")
    ours, log = train_together(2, world, tmp_path / "both", f"train_dit.parallel.{kind}=2")
    check_same(ours, figures(tmp_path / "alone"))
    sizes = {"ring": "ring 2 x ulysses 1", "ulysses": "ring 1 x ulysses 2"}
    assert log.count(f"2 processes: cfg 1 x {sizes[kind]}") == 1


def test_two_groups_of_two_train_as_two_processes(world, tmp_path):
    alone, _ = train_together(2, world, tmp_path / "alone")
    ours, log = train_together(4, world, tmp_path / "groups", "train_dit.parallel.ulysses=2")
    check_same(ours, alone)
    assert "4 processes: data 2 x ring 1 x ulysses 2" in log
