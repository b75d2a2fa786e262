"""Image-to-video models from `wanctl train-dit` to `wanctl sample`, on the demo's sizes."""

import json

import pytest
import torch
from decord import VideoReader
from safetensors.torch import load_file

from tests.integration.training_world import make_data_set, write_vae
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.data.cache import LatentCache
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.validate import load_checked
from wanctl.sample import pipeline
from wanctl.sample.run import sample
from wanctl.train.dit.run import train_dit
from wanctl.train.dit.tasks.store import FIELDS, unpack
from wanctl.video.encode import write_png

RECIPE = """
curate: {{decode: {{workers: 1}}}}
caption: {{backends: [sidecar]}}
dataset: {{path: {dataset}}}
device: cpu
model: {{variant: {variant}, weights: {base}}}
train_dit:
  steps: 4
  clip_fps: 8
  tasks: {tasks}
  buckets: [{{frames: 5, height: 32, width: 32, batch_size: 2}}]
  eval_every: 4
  preview_every: 4
  preview_steps: 2
  holdout: 0
  trackers: []
sample: {{task: {task}, frames: 5, height: 32, width: 32, fps: 8, steps: 2, fit: exact,
  image: {picture}, save_latents: true}}
"""


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A data set of four clips of two sources."""
    return make_data_set(tmp_path_factory.mktemp("footage"))


@pytest.fixture
def base(tmp_path):
    """A run folder with a random text-to-video model of the demo's sizes."""
    folder = tmp_path / "base"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = VARIANTS["tiny"].dit
        save_dit(WanModel(shape), folder / "dit")
    write_vae(folder / "vae")
    return folder


def cached_conditions(folder):
    for key in (path.name for path in (folder / "conditions").iterdir()):
        cache = LatentCache(folder / "conditions", key)
        yield from (unpack(cache.get(each), torch.zeros(1, 0, 384)) for each in cache._where)


@pytest.mark.parametrize(
    ("variant", "tasks", "task"),
    [("tiny-i2v", "{i2v: 1, interpolation: 1}", "i2v"), ("tiny", "{t2v: 1, ti2v: 2}", "ti2v")],
)
def test_what_is_trained_on_known_frames_is_sampled_from_a_picture(
    footage, base, tmp_path, monkeypatch, variant, tasks, task
):
    out, picture, file = tmp_path / "run", tmp_path / "picture.png", tmp_path / "small.yaml"
    file.write_text(
        RECIPE.format(
            dataset=footage, variant=variant, base=base, tasks=tasks, task=task, picture=picture
        )
    )
    recipe = load_checked(str(file))
    train_dit(recipe, out)
    assert load_dit(out).shape == VARIANTS[variant].dit
    lines = [json.loads(line) for line in (out / "dit" / "metrics.jsonl").read_text().splitlines()]
    assert any(f"loss_{task}" in line for line in lines if "eval" in line)

    clip = sorted((footage / "training").rglob("*.mp4"))[0]
    write_png(picture, VideoReader(str(clip))[0].asnumpy(), {})
    built = []
    monkeypatch.setattr(pipeline, "check_conditions", lambda each, _: built.append(each))
    [path] = sample(recipe, "a red square", out)
    assert path.suffix == ".mp4"

    def equal(a, b):
        pairs = [(getattr(a, name), getattr(b, name)) for name in FIELDS]
        return all(x is y is None or (x is not None and torch.equal(x, y)) for x, y in pairs)

    assert any(equal(each, built[0]) for each in cached_conditions(footage))
    if task == "ti2v":
        latents = load_file(path.with_suffix(".safetensors"))["latents"]
        assert torch.equal(latents[:, :, 0], built[0].known[:, :, 0])
