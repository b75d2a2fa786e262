"""Mistakes that `wanctl sample` must find before it loads or writes anything."""

import pytest
import torch

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import VAEShape
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sample.height=65"], r"--set: sample\.height: got 65; must be a multiple of 16"),
        (["sample.width=8"], r"--set: sample\.width: got 8; must be a multiple of 16"),
        (["sample.frames=16"], r"--set: sample\.frames: got 16; must be 4n\+1, e\.g\. 13 or 17"),
        (["sample.task=t2i"], r"sample\.frames: got 17; task t2i makes 1"),
        (["sample.task=t2w"], r"--set: sample\.task: no task named 't2w'; did you mean 't2v'"),
        (["sample.solver=unipcc"], r"sample\.solver: .*; did you mean 'unipc'"),
        (["sample.shift=1e12"], r"sample\.shift: got 1000000000000\.0; it crowds 30 steps"),
        (["model.variant=tinny"], r"no variant named 'tinny'; did you mean 'tiny'"),
        (["device=tpu"], r"device: got 'tpu'"),
        (["model.weights=/nowhere/at/all"], "/nowhere/at/all"),
        ([], "no transformer weights"),
    ],
)
def test_a_bad_recipe_is_one_line_and_writes_nothing(tmp_path, overrides, message):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message) as caught:
        sample(load_recipe("tiny", overrides), "a fox", out)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_noise_on_a_gpu_that_is_not_there(tmp_path):
    loaded = load_recipe("tiny", ["sample.noise_device=cuda"])
    with pytest.raises(UserError, match=r"sample\.noise_device: .*sample\.noise_device=cpu"):
        sample(loaded, "a fox", tmp_path / "out")


@pytest.mark.parametrize("prompt", ["", "  ", "missing.txt"])
def test_nothing_to_show(tmp_path, prompt):
    with pytest.raises(UserError):
        sample(load_recipe("tiny"), prompt, tmp_path / "out")


@pytest.fixture
def random_model(tmp_path):
    """A run folder with untrained weights of the demo's sizes."""
    tiny = VARIANTS["tiny"]
    save_dit(WanModel(tiny.dit), tmp_path / "dit")
    save_vae(WanVAE(tiny.vae), tmp_path / "vae")
    return tmp_path


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out: is a file; outputs need a folder"):
        sample(load_recipe("tiny"), "a fox", tmp_path / "out")


def test_a_samples_folder_that_is_a_file(random_model):
    (random_model / "samples").write_text("")
    with pytest.raises(UserError, match="samples: cannot write: a part of the path is a file"):
        sample(load_recipe("tiny"), "a fox", random_model)


def test_a_vae_of_another_model_is_refused(random_model):
    other = VAEShape(dim=4, z_dim=4, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4)
    save_vae(WanVAE(other), random_model / "vae")
    with pytest.raises(UserError, match=r"makes 16 channels and the VAE .* takes 4"):
        sample(load_recipe("tiny"), "a fox", random_model)


def test_a_negative_seed_is_drawn_and_named_in_the_file(random_model):
    loaded = load_recipe("tiny", ["sample.seed=-1", "sample.steps=1", "sample.frames=1"])
    first, second = (sample(loaded, "a fox", random_model)[0].name for _ in range(2))
    assert first != second
    assert "-s-1-" not in first
