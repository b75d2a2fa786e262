"""Every shipped recipe that trains the transformer: checked, planned, trained small, resumed."""

import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from small_variants import small_settings, small_variant, write_small_weights
from training_world import make_data_set

from wanctl.cli.main import main
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.validate import load_checked
from wanctl.train.dit import run as dit_run
from wanctl.train.dit.run import train_dit
from wanctl.train.networks.step import OptimizerStep

# One of each kind of training. The others differ from one of them in sizes only.
RECIPES = [
    "wan2.1-t2v-1.3b-full",
    pytest.param("wan2.1-t2v-1.3b-lora", marks=pytest.mark.slow),
    pytest.param("wan2.1-t2v-14b-lora", marks=pytest.mark.slow),  # as A14B's, with one expert
    "wan2.1-i2v-14b-480p-lora",
    pytest.param("wan2.2-ti2v-5b-lora", marks=pytest.mark.slow),
    "wan2.2-t2v-a14b-lora",
    "wan2.1-vace-1.3b-adapter",
]
STEPS = 2


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return make_data_set(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def encoder():
    """The packaged text encoder is loaded once."""
    from functools import cache

    return cache(dit_run.load_run_text_encoder)


@pytest.fixture
def loaded(data_set, encoder, tmp_path, monkeypatch):
    """(recipe) -> the recipe with a small variant, and weights of it."""
    monkeypatch.setattr(dit_run, "load_run_text_encoder", encoder)

    def load(name):
        recipe = load_checked(name)
        variant = small_variant(VARIANTS[recipe.recipe.model.variant])
        monkeypatch.setitem(VARIANTS, variant.name, variant)
        write_small_weights(tmp_path / "weights", variant)
        settings = small_settings(recipe, tmp_path / "weights", STEPS)
        sources = [
            f"dataset.path={data_set}",
            "curate.decode.workers=1",
            "caption.backends=[sidecar]",
        ]
        return load_checked(name, [*sources, *settings], ("model", "train_dit"))

    return load


def weights(folder):
    """Bytes of the weights that a run has written."""
    files = sorted(folder.rglob("*.safetensors"))
    return {file.name: file.read_bytes() for file in files if "checkpoints" not in file.parts}


@pytest.mark.parametrize("name", RECIPES)
def test_its_samples_are_planned_at_the_published_size(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (832, 480)).save("first.png")
    takes_image = "i2v" in load_checked(name).recipe.train_dit.tasks
    image = ["--set", "sample.image=first.png"] if takes_image else []
    with pytest.raises(SystemExit) as stop:
        main(["sample", "a cat", "--recipe", name, *image, "--plan"])
    assert stop.value.code == 0
    assert "in all, at the peak" in capsys.readouterr().out


@pytest.mark.parametrize("name", RECIPES)
def test_it_trains_and_continues_as_if_not_stopped(name, loaded, tmp_path, monkeypatch, caplog):
    recipe = loaded(name)
    train_dit(recipe, tmp_path / "straight")
    step = OptimizerStep.run

    def killed(self, number, batches):
        if number == STEPS - 1:
            raise KeyboardInterrupt
        return step(self, number, batches)

    with monkeypatch.context() as patch:
        patch.setattr(OptimizerStep, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            train_dit(recipe, tmp_path / "stopped")
    caplog.set_level("INFO", "wanctl")
    train_dit(recipe, tmp_path / "stopped")
    assert f"continuing at step {STEPS - 1} of {STEPS}" in caplog.text
    straight = weights(tmp_path / "straight")
    assert straight
    assert weights(tmp_path / "stopped") == straight
