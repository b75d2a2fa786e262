"""Equal weights have one fingerprint whatever holds them; other weights have another."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import spoil, write_official

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.tensor_files import iterate_tensors
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import weights_fingerprint
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.save import save_dit, save_vae

STEM = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("source"), "wan2.1-t2v-1.3b")


def key(dit, vae=None, loras=()):
    dit = find_components(dit)
    vae = find_components(vae) if vae else dit
    text = dit if dit.text_encoder else None
    return weights_fingerprint(dit, vae, text, None, loras)


def without_text(source, folder):
    shutil.copytree(source, folder)
    next(folder.glob("models_t5*")).unlink()
    shutil.rmtree(folder / "google")
    return folder


def test_other_files_with_the_same_tensors_change_nothing(source, tmp_path):
    plain = without_text(source, tmp_path / "plain")
    expected, config = key(plain), json.loads((plain / "config.json").read_text())
    state = load_file(plain / f"{STEM}.safetensors")
    vae = {k: v.clone() for k, v in iterate_tensors(plain / "Wan2.1_VAE.pth")}
    dit = load_dit(plain)
    for name, options in {
        "again": {}, "later": {"metadata": {"step": "7", "wanctl": "2"}},
        "shards": {"max_shard_bytes": 20_000}, "diffusers": {"layout": "diffusers"},
    }.items():  # fmt: skip
        save_dit(dit, tmp_path / name / "dit", **options)
        save_vae(load_vae(plain), tmp_path / name / "vae")
        assert key(tmp_path / name / "dit", tmp_path / name / "vae") == expected, name
    for name, wrap in {
        "prefix.safetensors": lambda s: {f"model._orig_mod.{k}": v for k, v in s.items()},
        "wrapped.pt": lambda s: {"state_dict": s, "epoch": 3},
        "order.pth": lambda s: dict(reversed(s.items())),
        "transposed.pth": lambda s: {
            k: v.t().contiguous().t() if v.ndim == 2 else v for k, v in s.items()
        },
    }.items():  # fmt: skip
        folder = tmp_path / f"in {name}"
        folder.mkdir()
        wrapped = wrap(state)
        save = save_file if name.endswith("safetensors") else torch.save
        save(wrapped, folder / name)
        (folder / "config.json").write_text(json.dumps(config))
        assert key(folder / name, plain) == expected, name
    whole = {f"model.diffusion_model.{k}": v for k, v in state.items()}
    whole |= {f"vae.{k}": v for k, v in vae.items()}
    (tmp_path / "all").mkdir()
    save_file(whole, tmp_path / "all" / "all.safetensors")
    (tmp_path / "all" / "config.json").write_text(json.dumps(config))
    assert key(tmp_path / "all" / "all.safetensors") == expected


def test_a_converted_model_with_its_text_encoder_keeps_its_key(source, tmp_path):
    expected = key(source)
    convert(str(source), tmp_path / "d", ConversionOptions("diffusers"))
    assert key(tmp_path / "d") == expected


@pytest.mark.parametrize("part", ["dit", "first", "vae", "text", "tokenizer", "dtype", "heads"])
def test_any_other_weight_changes_it(source, tmp_path, part):
    folder = tmp_path / "changed"
    shutil.copytree(source, folder)
    file = folder / f"{STEM}.safetensors"

    def add(name, at):
        def change(state):
            state[name].view(-1)[at] += 1e-3

        spoil(folder, change)

    if part == "dit":
        add("blocks.3.ffn.2.bias", -1)
    elif part == "first":
        add("patch_embedding.weight", 0)
    elif part == "dtype":
        save_file({k: v.bfloat16() for k, v in load_file(file).items()}, file)
    elif part == "heads":
        config = json.loads((folder / "config.json").read_text()) | {"num_heads": 1}
        (folder / "config.json").write_text(json.dumps(config))
    elif part == "tokenizer":
        (folder / "google/umt5-xxl/tokenizer.json").write_text('{"a": 1}')
    else:
        path = next(folder.glob("*VAE*" if part == "vae" else "models_t5*"))
        state = torch.load(path)
        name = "conv2.bias" if part == "vae" else "blocks.1.norm2.weight"
        state[name][0] += 1
        torch.save(state, path)
    assert key(folder) != key(source)


def test_every_large_tensor_is_probed_at_both_ends(tmp_path, source):
    """Training changes all values; an edit of one end or the middle shows as well."""
    folder = without_text(source, tmp_path / "a")
    big = torch.zeros(200_000)
    seen = set()
    for place in (None, 0, 100_000, -1):
        values = big.clone()
        if place is not None:
            values[place] = 1
        save_file({"x.lora_A.weight": values}, tmp_path / "lora.safetensors")
        seen.add(key(folder, loras=[Lora(tmp_path / "lora.safetensors")]))
    assert len(seen) == 4


def test_settings_beside_a_lora_are_part_of_it(source, tmp_path):
    plain, lora = without_text(source, tmp_path / "m"), tmp_path / "lora"
    lora.mkdir()
    save_file({"q.lora_A.weight": torch.ones(2, 3)}, lora / "adapter_model.safetensors")
    keys = set()
    for settings in ({"lora_alpha": 1}, {"lora_alpha": 2}, {"lora_alpha": 2, "use_rslora": True},
                     {"lora_alpha": 2, "alpha_pattern": {"q": 1}}):  # fmt: skip
        (lora / "adapter_config.json").write_text(json.dumps({"r": 2} | settings))
        keys.add(key(plain, loras=[Lora(lora)]))
    (lora / "adapter_config.json").write_text(
        json.dumps({"r": 2, "lora_alpha": 1, "date": "today"})
    )
    assert key(plain, loras=[Lora(lora)]) in keys
    keys |= {key(plain, loras=[Lora(lora, 0.5)]), key(plain)}
    assert len(keys) == 6
