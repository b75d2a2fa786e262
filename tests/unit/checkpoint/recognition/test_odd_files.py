"""Files that people have: each is named by `wanctl weights inspect`, or refused in one line.

`Self-Forcing.*` is a random model of that family under one prefix, wrapper or number format after
the other; the names of the others are those of their cases.
"""

import argparse
import os
import pickle
import shutil
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from family_models import state_of
from safetensors.torch import save, save_file
from small_models import published_image, published_text, random_state

from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.recognition.model_choice import ModelKeys, choose_model
from wanctl.checkpoint.registry import structures
from wanctl.checkpoint.registry.structures import Structure
from wanctl.cli.main import main
from wanctl.errors import ProblemsError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape

PLAIN = state_of(Structure())
COPY = {name: tensor.clone() for name, tensor in PLAIN.items()}
VAE = {
    name: torch.zeros(tensor.shape) for name, tensor in WanVAE(VAEShape(dim=4)).state_dict().items()
}
TEXT = random_state(published_text(16, 16, 24, 2, 4, 50))
CLIP = random_state(published_image(80, 96, 3, 14, 5))
FP8 = torch.float8_e4m3fn


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def under(prefix, state=PLAIN):
    return {prefix + name: tensor for name, tensor in state.items()}


def diffusers(prefix=""):
    return under(prefix, {to_diffusers([n], DIT_KEYS)[n]: t for n, t in PLAIN.items()})


def fp8(suffix=None, marker=None):
    """Matrices of the blocks in fp8, with scales of this name."""
    state = {}
    for name, tensor in PLAIN.items():
        is_matrix = name.startswith("blocks.") and tensor.ndim == 2
        state[name] = tensor.to(FP8) if is_matrix else tensor
        if is_matrix and suffix:
            state[name.removesuffix("weight") + suffix] = torch.tensor(1.0)
    return state | ({marker: torch.empty(0, dtype=FP8)} if marker else {})


def inside(name):
    """Words of wrappers of torch inside of names."""
    return name.replace("blocks.0.", "_fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.")


SAFE = {
    "no prefix": PLAIN,
    "model.": under("model."),
    "net.": under("net."),
    "module.": under("module."),
    "_orig_mod.": under("_orig_mod."),
    "_fsdp_wrapped_module.": under("_fsdp_wrapped_module."),
    "model._fsdp_wrapped_module.": under("model._fsdp_wrapped_module."),
    "generator_ema.": under("generator_ema.model."),
    "generator beside its average": under("generator.", COPY) | under("generator_ema."),
    "diffusion_model.": under("diffusion_model."),
    "ComfyUI": under("model.diffusion_model."),
    "pipe.dit.": under("pipe.dit."),
    "wrappers inside": {inside(name): tensor for name, tensor in PLAIN.items()},
    "diffusers": diffusers(),
    "diffusers below transformer.": diffusers("transformer."),
    "half precision": {name: tensor.half() for name, tensor in PLAIN.items()},
    "bf16": {name: tensor.bfloat16() for name, tensor in PLAIN.items()},
    "fp8": fp8(),
    "fp8 with scales and a marker": fp8("scale_weight", "scaled_fp8"),
    "fp8 with newer scales": fp8("weight_scale"),
    "computed tables": PLAIN | {"freqs": torch.ones(4)},
    "all in one": under("model.diffusion_model.") | under("first_stage_model.", VAE),
}  # fmt: skip
PICKLED = {
    "generator": {"generator": under("model.")},
    "generator_ema": {"generator": under("model."), "generator_ema": under("model.")},
    "fsdp in generator_ema": {"generator_ema": under("model._fsdp_wrapped_module.")},
    "state_dict": {"state_dict": PLAIN, "global_step": 3},
    "module and optimizer": {"module": PLAIN, "optimizer": {"state": {0: torch.ones(2)}}},
    "net.": under("net."),
    "settings of a trainer": {"model": PLAIN, "args": argparse.Namespace(lr=1)},
    "parameters": OrderedDict((n, torch.nn.Parameter(t)) for n, t in PLAIN.items()),
}


def inspect(capsys, path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["weights", "inspect", str(path)])
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


def check_named(capsys, path, row):
    code, out, err = inspect(capsys, path)
    assert code == 0, err
    assert f"checkpoint\t{row} (" in out
    assert "licence\t" in out


@pytest.mark.parametrize("case", SAFE)
def test_safetensors_of_any_prefix_and_format_are_named(case, tmp_path, capsys):
    path = tmp_path / "Self-Forcing.safetensors"
    save_file(SAFE[case], path)
    check_named(capsys, path, "self-forcing-1.3b")
    assert choose_model(ModelKeys(weights=str(path))).row.name == "self-forcing-1.3b"


@pytest.mark.parametrize("case", PICKLED)
def test_pickles_of_any_wrapper_are_named(case, tmp_path, capsys):
    path = tmp_path / "Self-Forcing.pt"
    torch.save(PICKLED[case], path)
    check_named(capsys, path, "self-forcing-1.3b")


def test_wrong_endings_and_old_pickles_are_named(tmp_path, capsys):
    path = tmp_path / "self_forcing.ckpt"
    save_file(PLAIN, path)
    check_named(capsys, path, "self-forcing-1.3b")
    torch.save(PLAIN, path, _use_new_zipfile_serialization=False)
    check_named(capsys, path, "self-forcing-1.3b")


def low_rank(spelling):
    return {f"blocks.0.ffn.0.{name}": torch.ones(4, 128) for name in spelling}


def of(*parts, copies=1, mask_channels=0):
    return state_of(Structure(copies, mask_channels, 16, frozenset(parts)))


RUN = {
    "fun 5b": (
        state_of(Structure(3, 4, 48, frozenset({structures.REFERENCE}))),
        "wan2.2-fun-5b-control",
    ),
    "fun inp": (of(structures.CLIP, copies=2, mask_channels=4), "wan2.1-fun-"),
    "fun control": (of(structures.CLIP, copies=3), "wan2.1-fun-1.3b-control ("),
    "fun camera": (
        of(structures.CAMERA, copies=2, mask_channels=4),
        "wan2.2-fun-a14b-control-camera (",
    ),
    "two images": (
        of(structures.CLIP, structures.TWO_IMAGES, copies=2, mask_channels=4),
        "wan2.1-flf2v-14b (",
    ),
    "control blocks": (of(structures.VACE), "wan2.1-vace-1.3b ("),
    "gates of sparse attention": (of(structures.GATES), "fastwan-t2v-1.3b ("),
    "sparse-linear attention": (of(structures.LINEAR_ATTENTION), "turbowan-t2v-1.3b ("),
    "two timesteps": (of(structures.SECOND_TIMESTEP), "meanflow-t2v-14b ("),
    "5b": (state_of(Structure(1, 0, 48)), "wan2.2-ti2v-5b ("),
}


@pytest.mark.parametrize("case", RUN)
def test_other_networks_are_named(case, tmp_path, capsys):
    state, row = RUN[case]
    save_file(state, tmp_path / f"{case}.safetensors")
    code, out, err = inspect(capsys, tmp_path / f"{case}.safetensors")
    assert (code, f"checkpoint\t{row}" in out) == (0, True), err
    assert "not run" not in out


# Case -> tensors, row, why it is not run
OTHERS = {
    "music": (
        of(structures.CLIP, structures.MUSIC, structures.REFERENCE, copies=2, mask_channels=4),
        "wan-dancer-14b", "music to dance needs",
    ),
    "turbowan int8 without scales": (
        of(structures.LINEAR_ATTENTION, structures.INT8), "turbowan-t2v-1.3b",
        "its int8 matrices have no scales",
    ),
    "infinitetalk": (
        of(structures.CLIP, structures.TALK, copies=2, mask_channels=4),
        "infinitetalk-14b", "its audio attention",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_networks_that_are_not_run_are_named_and_refused_in_one_line(case, tmp_path, capsys):
    state, row, why = OTHERS[case]
    path = tmp_path / f"{case.replace(' ', '-')}.safetensors"
    save_file(state, path)
    code, out, err = inspect(capsys, path)
    assert (code, f"checkpoint\t{row} (" in out) == (0, True), err
    assert f"not run\t{why}" in out
    with pytest.raises(ProblemsError, match=r"which is not run") as caught:
        choose_model(ModelKeys(weights=str(path)))
    assert why in str(caught.value)
    assert len(caught.value.problems) == 1


PARTS = {"VAE as transformer": VAE, "umT5 as transformer": TEXT, "CLIP as transformer": CLIP}
LORAS = {
    "peft": low_rank(("lora_A.weight", "lora_B.weight")),
    "kohya": {"lora_unet_blocks_0_ffn_0.lora_down.weight": torch.ones(4, 128)},
    "lokr": low_rank(("lokr_w1", "lokr_w2")),
    "full deltas": low_rank(("diff", "diff_b")),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_given_as_a_transformer_are_refused_in_one_line(case, tmp_path, capsys):
    path = tmp_path / f"{case}.safetensors"
    save_file(PARTS[case], path)
    code, out, _ = inspect(capsys, path)
    assert code == 0
    part = {"VAE": "vae", "umT5": "text_encoder", "CLIP": "image_encoder"}[case.split()[0]]
    assert out.startswith(f"{part}\t")
    line = sample_error(capsys, path)
    name = {"vae": "VAE", "text_encoder": "text encoder", "image_encoder": "CLIP vision tower"}
    assert f"model.weights: {path} holds a {name[part]} and no transformer" in line


@pytest.mark.parametrize("case", LORAS)
def test_loras_given_as_a_model_are_refused_and_inspected(case, tmp_path, capsys):
    path = tmp_path / f"lightx2v {case}.safetensors"
    save_file(LORAS[case], path)
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert out.startswith("LoRA\t")
    assert "checkpoint\tlightx2v-lora-t2v-14b (" in out
    assert "is a LoRA, no model; name it under `model.loras`" in sample_error(capsys, path)


def sample_error(capsys, path) -> str:
    """The one line of `wanctl sample` with these weights."""
    keys = (f"model.weights={path}", "device=cpu", "sample.frames=1")
    with pytest.raises(SystemExit) as stop:
        main(["sample", "a cat", "--recipe", "wan2.1-t2v-1.3b", "--out", str(path.parent / "out"),
              *(part for key in keys for part in ("--set", key))])  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert (stop.value.code, len(lines)) == (2, 1), lines
    return lines[0]


def write(name: str) -> None:
    """Write the file of a case, which holds no model."""
    safe, path = save(PLAIN), Path(name)
    if name.endswith(".zip.pt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.safetensors", safe)
        return
    contents = {
        "half a file.safetensors": safe[: len(safe) // 2],
        "half a header.safetensors": safe[:300],
        "web page.safetensors": b"<!doctype html><title>Sign in</title>",
        "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1",
        "index.safetensors": b'{"weight_map": {}}',
        "picture.safetensors": b"\x89PNG\r\n\x1a\n",
        "bare pickle.pt": pickle.dumps({"weight": 1}),
        "array.pt": b"\x93NUMPY\x01",
        "empty.pt": b"",
        "empty header.safetensors": (2).to_bytes(8, "little") + b"{}",
    }
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "half a pickle.pt":
        torch.save(PLAIN, path)
        path.write_bytes(path.read_bytes()[:-4000])
    elif name == "TorchScript.pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still in people's folders
            torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    elif name.endswith(".pt"):
        torch.save(
            {
                "code.pt": {"weight": Code()}, "numbers.pt": {"loss": 0.5}, "list.pt": [PLAIN],
                "NumPy arrays.pt": {name: np.zeros(2) for name in PLAIN},
            }[name],
            path,
        )  # fmt: skip
    else:
        save_file(
            {
                "Stable Diffusion.safetensors": {
                    "model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 2)
                },
                "Flux.safetensors": {"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)},
                "optimizer.safetensors": {"exp_avg.0": torch.ones(2)},
                "Stand-In.safetensors": {
                    "blocks.0.self_attn.q_loras.down.weight": torch.ones(2, 2),
                    "blocks.0.self_attn.q_loras.up.weight": torch.ones(2, 2),
                },
                "speed.safetensors": {
                    f"linear.{n}.{leaf}": torch.zeros(rows, *([columns] * (leaf == "weight")))
                    for n, rows, columns in ((0, 1536, 256), (2, 1536, 1536), (4, 9216, 1536))
                    for leaf in ("weight", "bias")
                },
            }[name],
            path,
        )  # fmt: skip


REFUSED = {
    "half a file.safetensors": "not a complete safetensors file",
    "half a header.safetensors": "not a complete safetensors file",
    "empty header.safetensors": "holds no weights known here (no tensors)",
    "web page.safetensors": "is a web page, so the download failed",
    "pointer.safetensors": "git-LFS",
    "index.safetensors": 'is a JSON file ({"weight_map": {}}), not weights',
    "picture.safetensors": "is a picture",
    "bare pickle.pt": "is a bare pickle, not a complete file of torch.save",
    "array.pt": "one NumPy array; need a file of named tensors",
    "empty.pt": "is empty; download or save it again",
    "half a pickle.pt": "is not a complete file of torch.save",
    "TorchScript.pt": "a TorchScript program, which is not run",
    "model.zip.pt": "It holds model.safetensors: unpack it",
    "code.pt": "its code is not run (it wants posix.mkdir)",
    "numbers.pt": "holds no dict of named tensors, but a dict without any (loss)",
    "list.pt": "holds no dict of named tensors, but a list",
    "NumPy arrays.pt": "its code is not run",
    "Stable Diffusion.safetensors": "holds no weights known here (1 tensors: model.diffusion_model",
    "Flux.safetensors": "holds no weights known here (1 tensors: double_blocks",
    "optimizer.safetensors": "holds no weights known here (1 tensors: exp_avg.0)",
    "Stand-In.safetensors": "is Stand-In, which is no model and goes beside one: `model.identity",
    "speed.safetensors": "is Wan2.1-1.3b-speedcontrol-v1, which is no model and is not used",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(name)
    code, out, err = inspect(capsys, name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert REFUSED[name] in err
    assert not Path("ran").exists()


def test_a_folder_is_listed_with_what_each_file_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("Stand-In.safetensors", "half a file.safetensors", "code.pt"):
        write(name)
    Path("below/deeper").mkdir(parents=True)
    save_file(PLAIN, "below/deeper/krea.safetensors")
    keys = list(PLAIN)
    for part in (0, 1):
        shard = {name: PLAIN[name] for name in keys[part::2]}
        save_file(shard, f"below/mine-{part + 1}-of-2.safetensors")
    shutil.copytree("below", "hub/models--me--Mine/snapshots/0123")
    save_file(LORAS["peft"], "causvid-lora.safetensors")
    Path("notes.txt").write_text("no weights")
    with pytest.raises(SystemExit) as stop:
        main(["weights", "list", ".", "code.pt"])
    assert not stop.value.code
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: row[1:] for row in rows}
    assert found["below/deeper/krea.safetensors"][:3] == ["model", "krea-realtime-14b", "yes"]
    assert found["below/deeper/krea.safetensors"][4] == "CC BY-NC-SA 4.0"
    first = found["below/mine-1-of-2.safetensors"]
    assert first[:3] == ["model", "wan2.1-t2v-1.3b", "yes"]
    assert "with the same tensors" in first[5]
    assert found["causvid-lora.safetensors"][:2] == ["lora", "causvid-lora-14b"]
    assert found["code.pt"][0] == "unknown"
    assert "its code is not run" in found["code.pt"][5]
    assert "not a complete safetensors file" in found["half a file.safetensors"][5]
    assert len([row for row in rows if row[0] == "code.pt"]) == 2
    assert "notes.txt" not in found
    with pytest.raises(SystemExit, match="2"):
        main(["weights", "list", "nowhere"])
    assert capsys.readouterr().err.endswith("nowhere: no such file or folder\n")
