"""The resolver takes weights from the documented places in order, and explains missing ones."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint import resolve
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.lora.write import LoraLayer, write_lora
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape, VAEShape

DIT = DiTShape(
    dim=8, ffn_dim=8, num_layers=1, num_heads=1, in_channels=4, out_channels=4, text_dim=4
)
VAE = VAEShape(dim=4, z_dim=4, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4, num_res_blocks=1)


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch):
    monkeypatch.setattr(resolve, "cached_components", lambda hub: None)


def save(folder, *parts):
    if "dit" in parts:
        save_dit(WanModel(DIT), folder / "dit")
    if "vae" in parts:
        save_vae(WanVAE(VAE), folder / "vae")
    return folder


def search(out, variant="tiny", **given):
    given = {"weights": None, "vae_weights": None, "text_weights": None} | given
    return WeightsResolver(out=out, variant=VARIANTS[variant], **given)


def test_what_was_trained_goes_first(tmp_path):
    out, other = save(tmp_path / "out", "dit", "vae"), save(tmp_path / "other", "dit", "vae")
    found = search(out, weights=str(other)).resolve()
    assert (found.dit.root, found.vae.root) == (out, out)
    assert (found.text, found.text_kind) == (None, "minilm")


def test_what_was_not_trained_comes_from_the_recipe(tmp_path):
    out, other = save(tmp_path / "out", "dit"), save(tmp_path / "other", "dit", "vae")
    vae = save(tmp_path / "third", "vae")
    assert search(out, weights=str(other)).resolve().vae.root == other
    assert search(out, weights=str(other), vae_weights=str(vae)).resolve().vae.root == vae
    assert search(tmp_path / "new", weights=str(other)).resolve().dit.root == other


def test_two_experts_in_two_files(tmp_path):
    paths = []
    for name in ("high", "low"):
        save_dit(WanModel(DIT), tmp_path / name)
        [file] = (tmp_path / name).glob("*.safetensors")
        paths.append(tmp_path / f"{name}_noise_14B.safetensors")
        file.rename(paths[-1])
    model = save(tmp_path / "rest", "vae")
    (tmp_path / "t5" / "text_encoder").mkdir(parents=True)
    keys = {
        "vae_weights": str(model), "text_weights": str(tmp_path / "t5"),
        "variant": "wan2.2-t2v-a14b",
    }  # fmt: skip
    with pytest.raises(WeightsError, match=r"holds one transformer .* takes two.*low_weights"):
        search(tmp_path / "out", weights=str(paths[0]), **keys).resolve()
    found = search(
        tmp_path / "out", weights=str(paths[0]), low_weights=str(paths[1]), **keys
    ).resolve()
    assert (found.dit.dit, found.dit.low_expert.dit) == ((paths[0],), (paths[1],))
    assert found.metadata()["dit_low_weights"] == str(paths[1])
    with pytest.raises(WeightsError, match="takes one"):
        search(
            tmp_path / "out", weights=str(paths[0]), low_weights=str(paths[1]),
            **keys | {"variant": "wan2.1-t2v-14b"},
        ).resolve()  # fmt: skip


@pytest.mark.parametrize("key", ["low_weights", "text_weights", "image_weights"])
def test_a_key_for_one_component_that_names_another_is_refused(tmp_path, key):
    out, other = save(tmp_path / "out", "dit", "vae"), save(tmp_path / "other", "vae")
    with pytest.raises(WeightsError, match=rf"model\.{key}: \S+other holds no "):
        search(out, **{key: str(other)}).resolve()


def test_the_hub_cache_comes_last(tmp_path, monkeypatch):
    cached = find_components(save(tmp_path / "cached", "dit", "vae"))
    cached = dataclasses.replace(cached, text_encoder=tmp_path, tokenizer=tmp_path)
    monkeypatch.setattr(resolve, "cached_components", lambda hub: cached)
    found = search(tmp_path / "new", "wan2.1-t2v-1.3b").resolve()
    assert found.dit is found.vae is found.text is cached
    assert found.text_kind == "umt5"


def test_no_weights_says_where_it_looked_and_how_to_get_them(tmp_path):
    with pytest.raises(WeightsError) as caught:
        search(tmp_path, "wan2.1-t2v-1.3b").resolve()
    line = str(caught.value)
    assert "\n" not in line
    for message in (
        str(tmp_path / "dit"),
        "model.weights (not set)",
        "hub cache",
        "hf download Wan-AI/Wan2.1-T2V-1.3B",
        "--recipe tiny",
        "make demo",
    ):
        assert message in line


def test_the_demo_without_weights_points_at_training(tmp_path):
    with pytest.raises(WeightsError, match=r"no transformer weights: .*`make demo`"):
        search(tmp_path).resolve()
    save(tmp_path, "dit")
    with pytest.raises(WeightsError, match=r"no VAE weights: looked in .*vae.*train them"):
        search(tmp_path).resolve()


def test_a_missing_text_encoder_is_named(tmp_path):
    save(tmp_path, "dit", "vae")
    with pytest.raises(WeightsError, match=r"no text encoder: .*model\.text_weights=DIR"):
        search(tmp_path, "wan2.1-t2v-14b").resolve()


def test_a_weights_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        search(tmp_path, weights=str(tmp_path / "nowhere")).resolve()


def test_weights_without_a_config_are_refused(tmp_path):
    folder = save(tmp_path / "given", "dit", "vae")
    for name in ("dit", "vae"):
        (folder / name / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json"):
        search(tmp_path, weights=str(folder)).resolve()


def test_the_fingerprint_depends_on_contents_not_on_folders(tmp_path):
    with torch.random.fork_rng():
        first = search(save(tmp_path / "a", "dit", "vae"))
        before = first.resolve().fingerprint
        (tmp_path / "a").rename(tmp_path / "b")
        moved = search(tmp_path / "b").resolve().fingerprint
        save(tmp_path / "b", "dit")
        retrained = search(tmp_path / "b").resolve().fingerprint
    assert before == moved
    assert retrained != moved


def test_loras_and_their_strengths_are_part_of_the_fingerprint(tmp_path):
    out = save(tmp_path / "out", "dit", "vae")
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for number, path in enumerate(paths):
        save_file({"a": torch.full((9,), float(number))}, path)
    selections = [(), (Lora(paths[0]),), (Lora(paths[0], 0.5),), (Lora(paths[1]),)]
    found = [search(out, loras=loras).resolve() for loras in selections]
    assert len({each.fingerprint for each in found}) == len(selections)
    assert found[2].metadata()["loras"] == f"{paths[0]} 0.5"
    with pytest.raises(WeightsError, match=r"LoRA .*gone.safetensors: the file is not there"):
        search(out, loras=(Lora(tmp_path / "gone.safetensors"),)).resolve()


def test_the_adapter_in_a_run_folder_is_added_to_the_weights_of_the_recipe(tmp_path, caplog):
    caplog.set_level("INFO", logger="wanctl")
    base, out = save(tmp_path / "base", "dit", "vae"), tmp_path / "out"
    layer = LoraLayer(torch.ones(2, 8), torch.ones(8, 2), 2.0)
    about = {
        "step": "7",
        "base": str(base),
        "base_fingerprint": dit_fingerprint(find_components(base)),
    }
    path = write_lora(out / "dit", {"blocks.0.self_attn.q": layer}, "comfyui", about)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(9)}, other)
    found = search(out, weights=str(base), loras=(Lora(other),)).resolve()
    assert (found.dit.root, found.vae.root) == (base, base)
    assert found.loras == (Lora(path), Lora(other))
    assert (found.text, found.text_kind) == (None, "minilm")
    assert f"adapter of this run: {path} (step 7), on {base / 'dit'}" in caplog.text
    assert "other weights" not in caplog.text
    save(base, "dit")
    search(out, weights=str(base)).resolve()
    assert f"was trained on other weights ({base})" in caplog.text


def test_each_of_two_experts_has_its_adapter(tmp_path):
    for name in ("dit", "dit_low"):
        save_dit(WanModel(DIT), tmp_path / "base" / name)
        layer = LoraLayer(torch.ones(2, 8), torch.ones(8, 2), 2.0)
        write_lora(tmp_path / "out" / name, {"blocks.0.ffn.0": layer}, "comfyui", {})
    save(tmp_path / "base", "vae")
    tiny = VARIANTS["tiny"]
    two = dataclasses.replace(tiny.defaults, boundary=0.9)
    variant = dataclasses.replace(tiny, defaults=two)
    given = {"weights": str(tmp_path / "base"), "vae_weights": None, "text_weights": None}
    found = WeightsResolver(out=tmp_path / "out", variant=variant, **given).resolve()
    names = [(lora.path.parent.name, lora.expert) for lora in found.loras]
    assert names == [("dit", "high"), ("dit_low", "low")]
