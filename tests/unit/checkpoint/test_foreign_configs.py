"""A config.json of somebody else is compared with the tensors before anything is built by it."""

import json
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import write_official

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.inspection.inspect import inspect
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.lora.apply import Lora
from wanctl.encoders.clip_vision import load_image_encoder
from wanctl.encoders.umt5 import load_umt5

CPU = torch.device("cpu")
ABSURD = (10**9, 10**30, -1, 0, True, "30", 2.5, float("nan"), float("inf"), None, [4], {"a": 1})
STEM = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model in both layouts."""
    root = tmp_path_factory.mktemp("models")
    write_official(root / "official", "wan2.1-i2v-14b-480p")
    convert(str(root / "official"), root / "diffusers", ConversionOptions("diffusers"))
    return root


def refused(load, file, changes, named=""):
    """Loading with a changed config fails within a second, in one line that names the file."""
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | changes))
    start = time.monotonic()
    try:
        with pytest.raises(WeightsError) as error:
            load()
    finally:
        file.write_text(before)
    assert time.monotonic() - start < 2
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert named in str(error.value)


KEYS = {
    "official": ("num_layers", "dim", "ffn_dim", "num_heads", "in_dim", "out_dim", "text_dim",
                 "text_len", "freq_dim"),
    "diffusers": ("num_layers", "num_attention_heads", "attention_head_dim", "ffn_dim",
                  "in_channels", "text_dim", "freq_dim"),
}  # fmt: skip


@pytest.mark.parametrize(("layout", "key"), [(k, v) for k, keys in KEYS.items() for v in keys])
def test_sizes_of_a_transformer(models, layout, key):
    folder = models / layout
    file = folder / ("config.json" if layout == "official" else "transformer/config.json")
    for value in ABSURD:
        refused(lambda: load_dit(folder), file, {key: value})
    refused(lambda: load_dit(folder), file, {"eps": 0.0}, "eps is 0.0; need a number between")
    refused(lambda: load_dit(folder), file, {"patch_size": 10**9}, "with patch 1000000000")
    refused(lambda: load_dit(folder), file, {"vace_layers": [10**9]}, "vace_layers is 1000000000")
    refused(lambda: load_dit(folder), file, {"vace_layers": [0]}, "vace_layers 1, and the tensors")


def test_plausible_sizes_of_another_model(models):
    folder = models / "official"
    for key, value in (("num_layers", 40), ("ffn_dim", 64), ("dim", 64), ("in_dim", 16)):
        named = f"{key} {value}, and the tensors have"
        refused(lambda: load_dit(folder), folder / "config.json", {key: value}, named)
    file = folder / "config.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"num_layers": 10**5}))
    start = time.monotonic()
    try:
        (problem,) = inspect(str(folder)).problems
    finally:
        file.write_text(before)
    assert time.monotonic() - start < 2
    assert problem.startswith(f"{file}: num_layers 100000, and the tensors have 4")


@pytest.mark.parametrize("key", ["base_dim", "z_dim", "dim_mult", "num_res_blocks",
                                 "temperal_downsample", "latents_mean", "latents_std"])  # fmt: skip
def test_sizes_of_a_vae(models, key):
    folder = models / "diffusers"
    for value in ABSURD:
        refused(lambda: load_vae(folder), folder / "vae" / "config.json", {key: value})
    for value in ([1] * 10**5, [10**6] * 4, *([[0.0] * 16, [-1.0] * 16] * (key == "latents_std"))):
        refused(lambda: load_vae(folder), folder / "vae" / "config.json", {key: value})


def test_sizes_of_the_encoders(models):
    text, image = models / "diffusers" / "text_encoder", models / "diffusers" / "image_encoder"
    for key in ("num_layers", "d_model", "d_ff", "num_heads"):
        for value in (10**9, 7, "3"):
            refused(lambda: load_umt5(text, CPU, torch.float32), text / "config.json", {key: value})
    for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "patch_size"):
        for value in (10**9, 7, "3"):
            refused(lambda: load_image_encoder(image), image / "config.json", {key: value})


@pytest.mark.parametrize("text", ["", "[]", "{", "<html>", '{"a":' * 10**5, "\xff\xfe", "null",
                                  "version https://git-lfs.github.com/spec/v1"])  # fmt: skip
def test_what_is_no_config_is_named(models, tmp_path, text):
    folder = write_official(tmp_path / "m", "wan2.1-t2v-1.3b")
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"config\.json") as error:
        load_dit(folder)
    assert "\n" not in str(error.value)


def test_a_config_with_a_mark_of_utf8_is_read(tmp_path):
    folder = write_official(tmp_path / "m", "wan2.1-t2v-1.3b")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text, encoding="utf-8-sig")
    load_dit(folder)


HEADERS = {
    "more than the file": {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}},
    "an overflow": {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
    "a negative size": {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "offsets that overlap": {
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    },
    "an unknown format": {"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}},
    "a list": [1, 2],
    "no offsets": {"a": {"dtype": "F32", "shape": [1]}},
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_lie(tmp_path, kind):
    text = json.dumps(HEADERS[kind]).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(WeightsError, match=r"a\.safetensors") as error:
        find_components(path)
    assert "\n" not in str(error.value)


FORMATS = {  # bits of one number
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F4": 4, "F6_E2M3": 6, "U16": 16, "U32": 32, "U64": 64,
    "C64": 64, "I32": 32, "I8": 8, "BOOL": 8, "U8": 8,
}  # fmt: skip


@pytest.mark.parametrize("code", FORMATS)
def test_number_formats_that_are_no_weights_are_named(tmp_path, code):
    folder = write_official(tmp_path / "m", "wan2.1-t2v-1.3b")
    path, name = folder / f"{STEM}.safetensors", "blocks.0.ffn.0.weight"
    state = load_file(path)
    header, data = {}, b""
    for key, tensor in state.items():
        values = (
            bytes(tensor.numel() * FORMATS[code] // 8) if key == name else tensor.numpy().tobytes()
        )
        header[key] = {"dtype": code if key == name else "F32", "shape": list(tensor.shape),
                       "data_offsets": [len(data), len(data) + len(values)]}  # fmt: skip
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    with pytest.raises(WeightsError, match=name) as error:
        load_dit(folder)
    assert "\n" not in str(error.value)
    save_file({f"{name}.diff": torch.zeros(3)}, tmp_path / "lora.safetensors")
    with pytest.raises(WeightsError, match=r"safetensors"):
        load_dit(folder, loras=[Lora(path)])


@pytest.mark.parametrize("shape", [(), (0,), (32,), (0, 16, 1, 2, 2), (32, 0, 1, 2, 2)])
def test_tensors_of_odd_shapes_without_a_config(tmp_path, shape):
    folder = write_official(tmp_path / "m", "wan2.1-t2v-1.3b")
    state = load_file(folder / f"{STEM}.safetensors")
    state["patch_embedding.weight"] = torch.zeros(shape)
    save_file(state, tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match=r"alone\.safetensors"):
        load_dit(tmp_path / "alone.safetensors")
    vae = {"encoder.conv1.weight": torch.zeros(shape), "conv2.weight": torch.zeros(shape),
           "decoder.conv1.weight": torch.zeros(shape)}  # fmt: skip
    save_file(vae, tmp_path / "vae.safetensors")
    with pytest.raises(WeightsError, match=r"vae\.safetensors"):
        load_vae(tmp_path / "vae.safetensors")
