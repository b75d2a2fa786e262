"""Transformers in GGUF files, written by the package that reads them."""

import sys

import numpy as np
import pytest
import torch
from small_models import random_state

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.gguf_files import _open
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.networks import TRANSFORMER, open_network
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=256, ffn_dim=512, num_layers=2, num_heads=2, text_dim=256, freq_dim=256)
# Blocks of these the package cannot make, so random bytes with small fp16 factors stand for them:
# bytes of a block, and where its factors are.
K_BLOCKS = {"Q4_K": (144, (0, 2)), "Q5_K": (176, (0, 2)), "Q6_K": (210, (208,))}


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf")


def plain_state():
    with torch.device("meta"):
        sizes = {name: tuple(t.shape) for name, t in WanModel(SHAPE).state_dict().items()}
    return random_state(sizes, scale=0.3)


def random_blocks(kind, shape):
    size, factors = K_BLOCKS[kind]
    blocks = np.random.default_rng(0).integers(
        0, 256, (*shape[:-1], shape[-1] // 256, size), np.uint8
    )
    for place in factors:
        blocks[..., place : place + 2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    return blocks.reshape(*shape[:-1], -1)


def write(gguf, path, state, kind="F32", *, rename=None, flat=False):
    """Write a file as ComfyUI-GGUF's tools do; returns the tensors that it stands for.

    Matrices of blocks are of the given kind, all others fp32, as there.
    """
    writer = gguf.GGUFWriter(str(path), "wan")
    expected = {}
    for name, tensor in state.items():
        array, stored = tensor.numpy(), name
        if rename:
            stored = rename[name]
        is_matrix = name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2
        quant = gguf.GGMLQuantizationType[kind if is_matrix else "F32"]
        if quant.name in K_BLOCKS:
            array = random_blocks(quant.name, array.shape)
        else:
            array = gguf.quants.quantize(array, quant)
        values = gguf.quants.dequantize(array, quant).reshape(tensor.shape)
        expected[name] = torch.from_numpy(np.array(values))
        if flat and tensor.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{stored}", list(map(int, tensor.shape)))
            array = array.reshape(len(array), -1)
        writer.add_tensor(stored, array, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", *K_BLOCKS])
def test_weights_are_those_that_the_package_dequantises(gguf, kind, tmp_path):
    state = plain_state()
    expected = write(gguf, tmp_path / "model.gguf", state, kind)
    loaded = load_dit(tmp_path / "model.gguf").state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
    half = load_dit(tmp_path / "model.gguf", dtype=torch.bfloat16).state_dict()
    name = "blocks.1.ffn.2.weight"
    assert torch.equal(half[name], expected[name].bfloat16())


@pytest.mark.parametrize("spelling", ["diffusers", "prefix", "flat"])
def test_names_and_shapes_of_other_writers(gguf, spelling, tmp_path):
    state = plain_state()
    rename = {
        "diffusers": to_diffusers(state, DIT_KEYS),
        "prefix": {name: f"model.diffusion_model.{name}" for name in state},
    }.get(spelling)
    file = tmp_path / "model.gguf"
    expected = write(gguf, file, state, "Q8_0", rename=rename, flat=spelling == "flat")
    loaded = load_dit(file).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    network = open_network(TRANSFORMER, (file,))
    lazy = network.tensors["blocks.0.self_attn.q.weight"]
    assert (lazy.dtype, lazy.shape) == (torch.float32, (256, 256))
    assert torch.equal(lazy.read(), expected["blocks.0.self_attn.q.weight"])


def test_hashing_does_not_dequantise(gguf, tmp_path, monkeypatch):
    file, state = tmp_path / "model.gguf", plain_state()
    write(gguf, file, state, "Q8_0")
    monkeypatch.setattr(gguf.quants, "dequantize", None)
    before = dit_fingerprint(find_components(file))
    state["blocks.1.ffn.2.weight"] *= 1.5
    monkeypatch.undo()
    write(gguf, file, state, "Q8_0")
    assert dit_fingerprint(find_components(file)) != before


def test_files_that_cannot_be_read_are_refused_in_one_line(gguf, tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    write(gguf, file, plain_state(), "Q8_0")
    with pytest.raises(WeightsError, match=r"LoRA .*is a GGUF file, which is read as a model only"):
        load_dit(file, loras=[Lora(file)])
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:-2000])
    (tmp_path / "empty.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(200))
    for name, says in {
        "cut.gguf": "not a complete GGUF file", "empty.gguf": r"holds no weights known here",
    }.items():  # fmt: skip
        with pytest.raises(WeightsError, match=says) as error:
            find_components(tmp_path / name)
        assert "\n" not in str(error.value)


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    _open.cache_clear()
    (tmp_path / "model.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(200))
    with pytest.raises(WeightsError, match=r"which the package `gguf` reads; .*'wanctl\[gguf\]'"):
        find_components(tmp_path / "model.gguf")
