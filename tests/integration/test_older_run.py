"""A data set and a run folder of the version before still open, resume and sample.

`tests/data/run_format_2.tar.xz` holds what `curate`, `caption`, `train-vae`, `train-dit` and
`sample` of that version made of three videos of 32 frames: tables (two of sidecar captions, with no
record of their order), exports without an index, latents, text embeddings, a VAE of 7,100 weights
and a transformer of 5,900 with their checkpoints at step 6, the latents of one sample, and the
metrics of that version after it went on to step 9.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_clips
from wanctl.data.table_order import latest_table
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.train.dit.run import train_dit
from wanctl.train.vae.run import train_vae

ARCHIVE = Path(__file__).parents[1] / "data/run_format_2.tar.xz"
# The same machine gives the same bits; another one may add up products in another order.
TOLERANCE = 1e-4
OLD_STEPS = 6
# Losses of other batches of the three videos; weights that were not restored would be far off.
OTHER_DRAWS = 0.3


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "run_format_2"


@pytest.fixture
def run(unpacked, tmp_path):
    """A copy, and its recipe with the trained weights in place of those it started from."""
    shutil.copytree(unpacked, tmp_path / "run")
    weights = [f"model.weights={tmp_path / 'run/dit'}", f"model.vae_weights={tmp_path / 'run/vae'}"]

    def load(*overrides):
        return load_recipe(str(tmp_path / "run/recipe.yaml"), [*weights, *overrides])

    return tmp_path / "run", load


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_tables_captions_and_selection_are_read(run):
    folder, _ = run
    dataset = DatasetDir.open(folder / "dataset")
    assert len(dataset.clips()) == 6
    kept = kept_clips(dataset, "default")
    assert len(kept) == 4
    assert set(dataset.tables("captions")) == {"captions/sidecar@v0", "captions/sidecar@v1"}
    # of unrecorded tables the one with more clips counts
    assert latest_table(dataset, "captions", "sidecar") == "captions/sidecar@v1"
    captions = read_captions(dataset, ["sidecar"], [row["id"] for row in kept])
    texts = {caption.text for several in captions.values() for caption in several}
    assert texts == {f"a square, number {number}" for number in range(3)}
    exposure = latest_table(dataset, "evidence", "exposure")
    assert exposure is not None
    assert dataset.read(exposure).num_rows == 6


@pytest.mark.parametrize(("part", "train"), [("vae", train_vae), ("dit", train_dit)])
def test_training_goes_on_from_its_checkpoints(run, caplog, part, train):
    folder, load = run
    caplog.set_level("INFO", "wanctl")
    cached = sorted((folder / "dataset").rglob("*.safetensors"))
    train(load(f"train_{part}.steps=9"), folder)
    assert f"train-{part}: continuing at step 6 of 9" in caplog.text
    steps, expected = (
        lines(folder / part / "metrics.jsonl"),
        lines(folder / f"continued-{part}.jsonl"),
    )
    assert len(steps) == len(expected) == 12
    for step, values in zip(steps, expected, strict=True):
        assert step.pop("eval", None) == values.pop("eval", None)
        known = {name: step[name] for name in values}  # later versions measure more
        if step["step"] > OLD_STEPS:  # of other clips and noise levels, which later versions draw
            known, values = (
                {n: v for n, v in x.items() if n in ("loss", "l1")} for x in (known, values)
            )
        tolerance = TOLERANCE if step["step"] <= OLD_STEPS else OTHER_DRAWS
        assert known == pytest.approx(values, rel=tolerance)
    # latents and embeddings of that version are found under their names
    assert "encoding" not in caplog.text
    assert sorted((folder / "dataset").rglob("*.safetensors")) == cached
    assert (folder / "dataset/training/8fps-32x32/index.jsonl").exists()


def test_its_model_samples_the_same_latents(run):
    folder, load = run
    sample(load("sample.save_latents=true"), "a square, number 1", folder)
    (made,) = (folder / "samples").glob("*.safetensors")
    (latents,) = load_file(made).values()
    (expected,) = load_file(folder / "sample.safetensors").values()
    assert latents.shape == expected.shape
    assert (latents - expected).abs().max() < TOLERANCE
