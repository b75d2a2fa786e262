"""What training refuses: one line, exit 2, and what was trained before is still there.

bad_training.py is the table. Mistakes that show before any data set is opened are in bad_inputs.py.
"""

import inspect
import os
import shutil
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from bad_inputs import TABLE
from bad_training import CASES, DIT, RECIPE, VAE, write_anew
from training_world import SMALL_VAE, make_data_set, write_vae

from wanctl.checkpoint.save import save_vae
from wanctl.cli.main import main
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.train.dit import run as dit_run

ASKED = 60
RUN = ["--recipe", "small.yaml"]


def call(arguments):
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a data set, VAEs, a recipe and runs of two steps of both trainers."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_data_set(Path())
        write_vae(Path("vae_weights"))
        with torch.random.fork_rng():
            save_vae(WanVAE(replace(SMALL_VAE, dim=4)), Path("other_vae"))
        Path("small.yaml").write_text(RECIPE, encoding="utf-8")
        plain = ["--set", "train_vae.loss.adversarial=0", "--out", "without"]
        assert call(["train-vae", *RUN, *plain]) == 0
        assert call(["train-vae", *RUN]) == 0
        assert call(["train-dit", *RUN]) == 0
        adapter = ["model.weights=runs/small/dit", "model.vae_weights=runs/small/vae"]
        settings = [
            part for each in (*adapter, "train_dit.adapter.rank=2") for part in ("--set", each)
        ]
        assert call(["train-dit", *RUN, *settings, "--out", "lora"]) == 0
    return folder


@pytest.fixture
def world(trained, tmp_path, monkeypatch):
    """A copy whose files are links: cases write anew what they change."""
    shutil.copytree(trained, tmp_path / "world", copy_function=os.link)
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setattr(dit_run, "load_run_text_encoder", cache(dit_run.load_run_text_encoder))


def kept():
    """Identity and time of every file that a run must not lose."""
    names = ("*.safetensors", "config.json", "manifest.json")
    found = [path for run in (VAE, DIT) for name in names for path in run.rglob(name)]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_sixty_mistakes_in_training_are_in_the_tables():
    early = [a for a, _ in TABLE.values() if a[0] in ("train-vae", "train-dit")]
    assert len(CASES) + len(early) >= ASKED


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_lost(name, world, monkeypatch, capsys):
    arguments, expected, change = CASES[name]
    if change is not None:
        change(*([monkeypatch] if inspect.signature(change).parameters else []))
    before = kept()
    assert call(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [
        each for each in captured.err.splitlines() if "WARNING" not in each and "INFO" not in each
    ]
    assert len(lines) == 1
    assert expected in lines[0]
    assert len(lines[0]) < 600
    after = kept()
    assert {path: after.get(path) for path in before} == before


def test_a_discriminator_that_is_no_longer_trained_is_left_out_with_a_warning(world, capsys):
    more = ["--set", "train_vae.steps=3", "--set", "train_vae.loss.adversarial=0"]
    assert call(["train-vae", *RUN, *more]) == 0
    assert (
        "step-000002 holds a discriminator, which this run does not train; later"
        in capsys.readouterr().err
    )
    assert not list(VAE.glob("checkpoints/step-000003/discriminator*"))


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(world, capsys):
    path = VAE / "checkpoints/step-000002/model.safetensors"
    write_anew(path, path.read_bytes()[:-1])
    assert call(["train-vae", *RUN, "--set", "train_vae.steps=3"]) == 0
    errors = capsys.readouterr().err
    assert "is damaged (model.safetensors is missing or has another size); going back" in errors
    assert "continuing at step 1 of 3" in errors
