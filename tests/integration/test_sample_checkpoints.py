"""`wanctl sample` with a distilled model: its rule, what the user changes, its licence."""

import warnings
from ast import literal_eval
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.integration.test_sample import PROMPT, small_tokenizer
from wanctl.checkpoint import resolve
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.save import save_vae
from wanctl.cli.main import main
from wanctl.log import info_once, warn_once
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.video.encode import read_metadata

DIT = DiTShape(dim=128, ffn_dim=32, num_layers=2, num_heads=1, text_dim=16, freq_dim=32)


DISTILLED = {
    "fastwan": {"sparse_attention": "vsa"},
    "turbowan": {"sparse_attention": "sla"},
    "meanflow": {"second_timestep": True},
}


def drawn(shape):
    """A small transformer with random weights, also where the published start is zero."""
    generator = torch.Generator().manual_seed(0)
    model = make_dit(shape)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.05, generator=generator)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A transformer under several names, and an official model in the place of the hub's."""
    from transformers import UMT5Config, UMT5EncoderModel

    folder = tmp_path_factory.mktemp("weights")
    generator = torch.Generator().manual_seed(0)
    model = WanModel(DIT).init_weights(generator)
    model.head.head.weight.data.normal_(std=0.05, generator=generator)
    for name in ("self_forcing_dmd", "krea", "mine"):
        state = {f"model.{n}": t.clone() for n, t in model.state_dict().items()}
        torch.save({"generator_ema": state}, folder / f"{name}.pt")
    for name, sizes in DISTILLED.items():
        torch.save(drawn(replace(DIT, **sizes)).state_dict(), folder / f"{name}.pt")
    save_file(
        {"blocks.0.ffn.0.lora_A.weight": torch.ones(1, 128),
         "blocks.0.ffn.0.lora_B.weight": torch.ones(32, 1)},
        folder / "lightx2v-4step-lora.safetensors",
    )  # fmt: skip
    hub = folder / "hub"
    save_vae(WanVAE(VAEShape(dim=4)), hub / "vae")
    tokenizer = small_tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer.save_pretrained(hub / "tokenizer")
        UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                feed_forward_proj="gated-gelu", tie_word_embeddings=False,
            )
        ).save_pretrained(hub / "text_encoder")  # fmt: skip
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Samples one picture; gives its header, with its pixels, and what was logged."""
    hub = find_components(folder / "hub")
    monkeypatch.setattr(resolve, "cached_components", lambda hub_id: hub)
    for cached in (info_once, warn_once):
        cached.cache_clear()

    def run(name, *keys, code=0):
        keys = ("device=cpu", "sample.frames=1", "sample.height=32", "sample.width=32",
                f"model.weights={folder / name}", *keys)  # fmt: skip
        options = [part for key in keys for part in ("--set", key)]
        with pytest.raises(SystemExit) as stop:
            main(["sample", PROMPT, "--out", str(tmp_path), *options])
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == code, err
        if code:
            return {}, err
        path = tmp_path / out.split()[-1]
        return {**read_metadata(path), "pixels": np.asarray(Image.open(path))}, err

    return run


def test_the_file_alone_is_run_by_its_rule(run):
    header, log = run("self_forcing_dmd.pt")
    rule = checkpoints()["self-forcing-1.3b"].defaults
    assert literal_eval(header["levels"]) == pytest.approx(rule.levels)
    assert (header["solver"], header["steps"], float(header["guide_scale"])) == ("lcm", "4", 1)
    assert header["checkpoint"] == "self-forcing-1.3b"
    [line] = [line for line in log.splitlines() if "(self-forcing-1.3b): " in line]
    assert "4 steps at 1000 937.5 833.3 625, no guidance, lcm" in line
    assert "licence: Apache-2.0" in line


def test_what_the_user_sets_wins_with_a_warning(run):
    header, log = run("self_forcing_dmd.pt", "sample.guide_scale=5", "sample.solver=euler")
    assert (header["solver"], float(header["guide_scale"])) == ("euler", 5)
    assert len(literal_eval(header["levels"])) == 4
    assert log.count("sample.guide_scale is 5.0; Self-Forcing: it is distilled for") == 1
    assert "sample.solver" not in log


def test_other_weights_are_run_as_their_variant_and_a_lora_changes_that(run, folder):
    header, log = run("mine.pt", "sample.steps=2")
    assert (header["solver"], header["steps"], "checkpoint" in header) == ("unipc", "2", False)
    assert "model.checkpoint" not in log
    lora = f"model.loras=[{{path: {folder / 'lightx2v-4step-lora.safetensors'}}}]"
    header, _ = run("mine.pt", lora, "model.checkpoint=wan2.1-t2v-1.3b")
    assert (header["solver"], header["steps"]) == ("euler", "4")
    assert header["checkpoint"].startswith("lightx2v-lora-")


def test_a_licence_is_accepted_first(run):
    _, log = run("krea.pt", "sample.steps=1", code=2)
    line = log.splitlines()[-1]
    assert "model.accept_license: krea-realtime-video-14b is under CC BY-NC-SA 4.0" in line
    header, log = run("krea.pt", "sample.steps=1", "model.accept_license=krea-realtime-14b")
    assert header["checkpoint"] == "krea-realtime-14b"
    assert "licence: CC BY-NC-SA 4.0" in log


@pytest.mark.parametrize("name", ["fastwan", "turbowan"])
def test_sparse_attention_is_computed_and_can_be_set(run, name):
    large = ("sample.height=256", "sample.width=64")  # 64 tokens: four tiles
    published, log = run(f"{name}.pt", *large)
    assert published["checkpoint"] == f"{name}-t2v-1.3b"
    assert "sparsity" not in published
    assert "left out" not in log
    full, _ = run(f"{name}.pt", *large, "sample.sparsity=0")
    assert float(full["sparsity"]) == 0
    changed = np.abs(full["pixels"].astype(int) - published["pixels"]).max()
    assert (changed > 0) == (name == "fastwan")  # 64 tokens are one block of SLA
    _, log = run("mine.pt", "sample.sparsity=0.5", code=2)
    assert log.splitlines()[-1].endswith("mine.pt has full attention; leave it out")


def test_mean_flow_takes_two_steps(run):
    header, _ = run("meanflow.pt")
    assert (header["checkpoint"], header["solver"]) == ("meanflow-t2v-14b", "euler")
    assert literal_eval(header["levels"]) == pytest.approx((1, 5 / 6))
    assert header["pixels"].std() > 0
