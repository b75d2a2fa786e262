"""One transformer under sixty spellings: every prefix, wrapper, container and folder gives it.

The names are those that training frameworks, wrappers of torch and other programs leave; the
expected tensors are the ones that were written.
"""

import argparse
import json
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import write_official

from wanctl.checkpoint.files.tensor_files import WeightsError, iterate_tensors
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.networks import open_networks

PREFIXES = (
    "_orig_mod.", "module.", "model.", "diffusion_model.", "pipe.dit.", "model.diffusion_model.",
    "_orig_mod.module.", "module._orig_mod.", "model._orig_mod.module.", "net.", "net.module.",
    "unet.", "transformer.", "dit.", "generator.model.",
    "generator_ema.model._fsdp_wrapped_module.", "state_dict.model.", "base_model.model.",
    "student.network.backbone.",
)  # fmt: skip
INFIXES = (
    ("blocks.0.", "blocks.0._fsdp_wrapped_module."),
    ("blocks.1.", "blocks.1._checkpoint_wrapped_module."),
    ("blocks.2.", "_orig_mod.blocks.2._orig_mod._fsdp_wrapped_module._checkpoint_wrapped_module."),
    (".self_attn.", "._orig_mod.self_attn.module."),
    (".ffn.0.", ".ffn.0.base_layer."),
)
PICKLED = ("pth", "pt", "ckpt", "bin")
WRAPS = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "global_step": torch.tensor(5)},
    "module": lambda s: {"module": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "model": lambda s: {"model": s, "args": argparse.Namespace(lr=1e-4), "lr_scheduler": {}},
    "model_state_dict": lambda s: OrderedDict(model_state_dict=OrderedDict(s), loss=0.5),
    "params": lambda s: {"params": s, "version": "1"},
    "weights in two levels": lambda s: {"checkpoint": {"state_dict": s}, "config": {"dim": 32}},
    "a name nobody knows": lambda s: {"mystery": s},
    "optimizer larger": lambda s: {
        "net": s, "optimizer_state_dict": {f"{k}.exp_avg.weight": v for k, v in s.items()}
        | {f"{k}.exp_avg_sq.weight": v for k, v in s.items()},
    },
    "a tree of modules": lambda s: tree(s),
    "parameters": lambda s: {k: torch.nn.Parameter(v) for k, v in s.items()},
}  # fmt: skip
OTHER = 100.0  # added to weights that must not be taken


def tree(state):
    root = {}
    for name, tensor in state.items():
        *path, last = name.split(".")
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node[last] = tensor
    return root


def spoilt(state):
    return {name: tensor + OTHER for name, tensor in state.items()}


AVERAGES = {
    "generator_ema": lambda s: {"generator": spoilt(s), "generator_ema": s, "critic": spoilt(s)},
    "inside model.": lambda s: {
        side: {f"model.{k}": v for k, v in weights.items()}
        for side, weights in (("generator", spoilt(s)), ("generator_ema", s))
    },
    "ema": lambda s: {"model": spoilt(s), "ema": s, "opt": {}},
    "ema with buffers": lambda s: {
        "model": spoilt(s) | {"freqs": torch.ones(4)}, "model_ema": s, "step": 7,
    },
    "shadow": lambda s: {"state_dict": spoilt(s), "ema": {"decay": 0.99, "shadow": s}},
    "not averaged in full": lambda s: {"model": s, "ema": dict(list(spoilt(s).items())[:9])},
    "fake score": lambda s: {"fake_score": spoilt(s), "generator": s, "real_score": spoilt(s)},
    "teacher": lambda s: {"teacher": spoilt(s), "student": s},
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("source"), "wan2.1-t2v-1.3b")


@pytest.fixture(scope="module")
def state(source):
    return load_file(source / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def config(source):
    return json.loads((source / "config.json").read_text())


def check(path: Path, state, config, *, folder: Path | None = None):
    """The transformer at `path` has these tensors, for every reader."""
    (folder or path.parent).joinpath("config.json").write_text(json.dumps(config))
    loaded = load_dit(path).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    [network] = [n for n in open_networks(find_components(path)) if n.name == "transformer"]
    assert network.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}


def renamed(state, layout):
    names = to_diffusers(state, DIT_KEYS) if layout == "diffusers" else {n: n for n in state}
    return {names[name]: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(state, config, tmp_path, prefix, layout):
    path = tmp_path / "any name.safetensors"
    save_file({prefix + name: t for name, t in renamed(state, layout).items()}, path)
    check(path, state, config)


@pytest.mark.parametrize("outer", ["", "model.", "generator_ema.model."])
def test_wrappers_inside_names(state, config, tmp_path, outer):
    def wrapped(name):
        for plain, with_wrapper in INFIXES:
            name = name.replace(plain, with_wrapper)
        return outer + name

    save_file({wrapped(name): t for name, t in state.items()}, tmp_path / "a.safetensors")
    check(tmp_path / "a.safetensors", state, config)


@pytest.mark.parametrize("suffix", PICKLED)
def test_endings_of_torch_and_wrong_endings(state, config, tmp_path, suffix):
    torch.save(state, tmp_path / f"plain.{suffix}")
    check(tmp_path / f"plain.{suffix}", state, config)
    torch.save(state, tmp_path / "old", _use_new_zipfile_serialization=False)
    check(tmp_path / "old", state, config)
    save_file(state, tmp_path / f"really safetensors.{suffix}")
    check(tmp_path / f"really safetensors.{suffix}", state, config)
    torch.save(state, tmp_path / "really a pickle.safetensors")
    check(tmp_path / "really a pickle.safetensors", state, config)


@pytest.mark.parametrize("wrap", WRAPS)
def test_wrapped_dicts(state, config, tmp_path, wrap, caplog):
    caplog.set_level("INFO", "wanctl")
    torch.save(WRAPS[wrap](state), tmp_path / "a.pt")
    check(tmp_path / "a.pt", state, config)
    if wrap not in ("a tree of modules", "parameters"):
        said = [r.getMessage() for r in caplog.records if "taking the weights" in r.getMessage()]
        assert len(said) == 1


@pytest.mark.parametrize("wrap", AVERAGES)
def test_the_best_of_several_is_taken_and_named(state, config, tmp_path, wrap, caplog):
    caplog.set_level("INFO", "wanctl")
    torch.save(AVERAGES[wrap](state), tmp_path / "a.pt")
    check(tmp_path / "a.pt", state, config)
    assert "taking the weights under `" in caplog.text
    assert "it also holds" in caplog.text


@pytest.mark.parametrize(
    "sides", [("generator", "generator_ema"), ("model", "ema"), ("critic", "net")]
)
def test_the_best_of_several_prefixes_is_taken_and_named(state, config, tmp_path, sides, caplog):
    caplog.set_level("INFO", "wanctl")
    worse, better = sides
    both = {f"{worse}.model.{k}": v for k, v in spoilt(state).items()}
    both |= {f"{better}.model.{k}": v for k, v in state.items()}
    save_file(both, tmp_path / "both.safetensors")
    check(tmp_path / "both.safetensors", state, config)
    assert f"taking the weights under `{better}.model.`" in caplog.text


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("", "ema."),
        ("", "model_ema."),
        ("critic.", ""),
        ("model.", "model.ema."),
        ("vae_teacher.", ""),
    ],
)
def test_a_set_inside_the_names_of_another(state, config, tmp_path, worse, better, layout, caplog):
    caplog.set_level("INFO", "wanctl")
    both = {f"{worse}{k}": v for k, v in renamed(spoilt(state), layout).items()}
    both |= {f"{better}{k}": v for k, v in renamed(state, layout).items()}
    save_file(both, tmp_path / "both.safetensors")
    check(tmp_path / "both.safetensors", state, config)
    assert f"taking the weights under `{better or '(none)'}`" in caplog.text
    assert f"{len(state)} tensors outside `{better or '(none)'}` are not used" in caplog.text


@pytest.mark.parametrize("names", [
    "diffusion_pytorch_model-0000{}-of-00003.safetensors",
    "diffusion_pytorch_model.fp16-0000{}-of-00003.safetensors",
    "model-0000{}-of-00003.safetensors",
    "wan-{}-of-3.safetensors",
    "diffusion_pytorch_model-0000{}-of-00003.bin",
])  # fmt: skip
def test_shards_without_an_index(state, config, tmp_path, names):
    keys = list(state)
    for part in (1, 2, 3):
        piece = {name: state[name] for name in keys[part - 1 :: 3]}
        path = tmp_path / names.format(part)
        torch.save(piece, path) if path.suffix == ".bin" else save_file(piece, path)
    check(tmp_path, state, config, folder=tmp_path)
    (tmp_path / names.format(2)).unlink()
    with pytest.raises(WeightsError, match=r"1 of 3 shards of .* are missing \(no\. 2\)"):
        load_dit(tmp_path)


def hub_cache(source: Path, folder: Path, *, main=True, linked=True) -> Path:
    """A model as huggingface_hub keeps it: blobs, links to them, and the name of a revision."""
    model = folder / "models--Some--Model"
    revision = model / "snapshots" / "0123abc"
    (model / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        blob = model / "blobs" / f"{number:064x}"
        shutil.copy(path, blob)
        link = revision / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        if linked:
            link.symlink_to(
                Path(*[".."] * (len(link.relative_to(model).parts) - 1)) / "blobs" / blob.name
            )
        else:
            shutil.copy(blob, link)
    if main:
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text("0123abc")
    return model


@pytest.mark.parametrize("options", [{}, {"main": False}, {"linked": False}])
def test_folders_of_the_hub_cache(source, state, tmp_path, options):
    model = hub_cache(source, tmp_path, **options)
    for place in (model, model / "snapshots", model / "snapshots" / "0123abc"):
        found = find_components(place)
        assert found.vae
        assert found.tokenizer
        loaded = load_dit(place).state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)
    [blob] = [p for p in (model / "blobs").iterdir() if p.read_bytes()[8:20].startswith(b'{"')
              and b"blocks" in p.read_bytes()[:4000]]  # fmt: skip
    shutil.copy(source / "config.json", model / "blobs")
    assert load_dit(blob).state_dict().keys() == state.keys()  # a blob has no ending
    with pytest.raises(WeightsError, match=r"is a hub cache of 1 models; name one"):
        find_components(tmp_path)


def test_a_download_that_was_broken_off(source, tmp_path):
    model = hub_cache(source, tmp_path)
    link = model / "snapshots" / "0123abc" / "diffusion_pytorch_model.safetensors"
    link.resolve().unlink()
    with pytest.raises(WeightsError, match="its download is not complete"):
        find_components(model)


@pytest.mark.parametrize("vae_prefix", ["vae.", "first_stage_model."])
@pytest.mark.parametrize("text_prefix", ["text_encoders.umt5xxl.transformer.", "cond_stage_model."])
def test_all_in_one_files_hold_every_network(
    source, state, config, tmp_path, vae_prefix, text_prefix
):
    everything = {f"model.diffusion_model.{k}": v for k, v in state.items()}
    parts = {vae_prefix: "Wan2.1_VAE.pth", text_prefix: "models_t5_umt5-xxl-enc-bf16.pth"}
    for prefix, name in parts.items():
        everything |= {prefix + k: v for k, v in iterate_tensors(source / name)}
    path = tmp_path / "all.safetensors"
    save_file({k: v.clone() for k, v in everything.items()}, path)
    check(path, state, config)
    (tmp_path / "config.json").unlink()
    stored = {network.name: network for network in open_networks(find_components(path))}
    assert set(stored) == {"transformer", "vae", "text_encoder"}
    for prefix, name in (("vae", "Wan2.1_VAE.pth"), ("text_encoder", parts[text_prefix])):
        expected = dict(iterate_tensors(source / name))
        assert stored[prefix].tensors.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(stored[prefix].tensors[key].read(), tensor), key
    vae, expected = load_vae(path).state_dict(), load_vae(source).state_dict()
    assert all(torch.equal(vae[name], expected[name]) for name in expected)


def test_a_folder_with_files_of_other_programs(source, state, config, tmp_path):
    save_file(state, tmp_path / "wan2.2_t2v_high_noise_14B_fp16.safetensors")
    save_file(spoilt(state), tmp_path / "wan2.2_t2v_low_noise_14B_fp16.safetensors")
    vae = dict(iterate_tensors(source / "Wan2.1_VAE.pth"))
    save_file({k: v.clone() for k, v in vae.items()}, tmp_path / "wan_2.1.safetensors")
    found = find_components(tmp_path)
    assert "high" in found.dit[0].name
    assert "low" in found.dit_low[0].name
    assert found.vae[0].name == "wan_2.1.safetensors"
    check(tmp_path, state, config, folder=tmp_path)
    save_file(state, tmp_path / "another.safetensors")
    with pytest.raises(WeightsError, match=r"several files with the same network \(.*name one"):
        find_components(tmp_path)


TEXTS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 306807976\n",
            "is a git-LFS pointer for 307 MB, not the file; run `git lfs pull`"),
    "html": (b"\n<!DOCTYPE html><html><head><title>Sign in</title>", "is a web page"),
    "html in capitals": (b"<HTML>\n<BODY>404</BODY></HTML>", "is a web page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "json": (b'{"error": "Repository not found"}', "is a JSON file"),
    "refused": (b"Access to model X is restricted. You must be logged in.", "is a text ('Access"),
    "gguf": (b"GGUF\3\0\0\0" + b"\1" * 8, "GGUF file"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "npy": (b"\x93NUMPY\1\0" + bytes(99), "is one NumPy array"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "is a gzip archive; unpack it"),
    "tar": (b"a.pt".ljust(257, b"\0") + b"ustar" + bytes(300), "is a tar archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a 7z archive"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture"),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(99), "is a video"),
    "empty": (b"", "is empty"),
    "zeros": (bytes(4096), "of a format not known here"),
    "noise": (bytes(range(255, 0, -1)) * 9, "of a format not known here"),
    "huge header": ((2**50).to_bytes(8, "little") + b'{"a":', "not a complete safetensors file"),
    "cut header": ((9000).to_bytes(8, "little") + b'{"a":', "not a complete safetensors file"),
    "cut zip": (b"PK\x03\x04" + bytes(99), "not a complete file of torch.save"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("suffix", ["safetensors", "pth", "gguf", ""])
def test_what_is_no_weight_file_is_named(tmp_path, kind, suffix):
    content, named = TEXTS[kind]
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        find_components(path)
    assert named in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    if suffix in ("pth", "gguf") and kind != "cut header":
        with pytest.raises(WeightsError) as error:
            find_components(tmp_path)
        assert named in str(error.value)
    if suffix == "safetensors":
        path.rename(tmp_path / "diffusion_pytorch_model.safetensors")
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(WeightsError) as error:
            load_dit(tmp_path)
        assert named in str(error.value)


def write_bomb(path, state):
    """A small archive that would unpack to a gigabyte."""
    torch.save(state, path.with_suffix(".whole"))
    with zipfile.ZipFile(path.with_suffix(".whole")) as whole, zipfile.ZipFile(path, "w") as bomb:
        for part in whole.infolist():
            bomb.writestr(part.filename, whole.read(part))
        bomb.writestr("archive/data/99999", bytes(10**8), zipfile.ZIP_DEFLATED)


def test_archives_and_pickles_that_are_not_what_they_say(state, tmp_path):
    refused = {
        "bomb.pth": "a compressed archive that would unpack to 1",
        "npz.pt": "It holds NumPy arrays",
        "zipped.bin": "a zip archive, no file of torch.save. It holds lora.safetensors: unpack it",
        "script.pt": "a TorchScript program",
        "huge.pt": "which is more than the file's",
        "sparse.pt": "is sparse",
        "meta.pt": "is sparse, quantised or empty of data",
        "scalar.pt": "holds no dict of named tensors, but a int",
        "deep.pt": "holds no dict of named tensors",
    }
    write_bomb(tmp_path / "bomb.pth", state)
    for name, inner in (("npz.pt", "arr_0.npy"), ("zipped.bin", "lora.safetensors")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inner, b"x")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for inner in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(inner, b"x")
    torch.save({"a.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "huge.pt")
    torch.save({"a.weight": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    torch.save({"a.weight": torch.empty(3, device="meta")}, tmp_path / "meta.pt")
    torch.save(7, tmp_path / "scalar.pt")
    deep = {}
    for _ in range(60):
        deep = {"a": deep, "b": deep}
    torch.save(deep, tmp_path / "deep.pt")
    for name, text in refused.items():
        with pytest.raises(WeightsError) as error:
            find_components(tmp_path / name)
        assert text in str(error.value), name
        assert "\n" not in str(error.value)


def test_checkpoints_of_training_frameworks_are_named(tmp_path):
    for name, text in ((".metadata", "dcp_to_torch"), ("zero_to_fp32.py", "zero_to_fp32.py")):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_text("x")
        with pytest.raises(WeightsError, match=text):
            find_components(folder)


def test_an_index_lists_files_of_its_own_folder_only(state, tmp_path):
    save_file(state, tmp_path / "outside.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors")):
        index = {"weight_map": dict.fromkeys(state, name)}
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(WeightsError, match="outside of its folder"):
            find_components(folder)


def test_one_parameter_under_two_names_is_refused(state, tmp_path):
    twice = dict(state) | {"blocks.0._orig_mod.ffn.0.bias": state["blocks.0.ffn.0.bias"] + 1}
    save_file(twice, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"blocks\.0\.ffn\.0\.bias twice"):
        load_dit(tmp_path / "a.safetensors")


EXTRA = {
    "the image branch": [
        ("blocks.0.cross_attn.k_img.weight", (32, 32)), ("blocks.3.cross_attn.v_img.bias", (32,)),
        ("blocks.1.cross_attn.norm_k_img.weight", (32,)),
    ],
    "half of the image branch": [
        ("img_emb.proj.0.weight", (80,)), ("img_emb.proj.1.weight", (80, 80)),
        ("img_emb.emb_pos", (1, 10, 80)),
    ],
    "VACE": [
        ("vace_patch_embedding.weight", (32, 96, 1, 2, 2)), ("vace_blocks.0.ffn.0.bias", (9,)),
    ],
    "no network": [("freqs", (1024, 8)), ("num_updates", ())],
}  # fmt: skip


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("part", EXTRA)
def test_tensors_of_parts_that_the_model_lacks_are_left_out_with_one_warning(
    state, config, tmp_path, caplog, part, layout
):
    extra = {name: torch.ones(shape) for name, shape in EXTRA[part]}
    path = tmp_path / f"{layout}.safetensors"
    save_file({f"model.{k}": v for k, v in renamed(state | extra, layout).items()}, path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_dit(path).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    [warning] = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert f"{len(extra)} keys are left out" in warning
    assert part.removeprefix("half of ") in warning
    with pytest.raises(WeightsError, match=r"model\.strict is true"):
        load_dit(path, strict=True)
    save_file(state | {"blocks.0.zora.weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match=r"1 unexpected \(blocks\.0\.zora\.weight\)"):
        load_dit(path)
