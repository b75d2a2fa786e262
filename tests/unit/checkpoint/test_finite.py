"""Weights with NaN or infinity are refused when they are loaded, wherever the value is."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import write_official

from wanctl.checkpoint.files.finite import is_finite, nonfinite_names
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.encoders.clip_vision import load_image_encoder
from wanctl.encoders.umt5 import load_umt5

CPU = torch.device("cpu")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("model"), "wan2.1-i2v-14b-480p")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_value_in_any_place_and_format_is_found(dtype, value):
    for shape in ((1,), (513,), (7, 33), (2, 3, 1, 2, 2)):
        tensor = torch.ones(shape).to(dtype)
        assert is_finite(tensor)
        for place in (0, tensor.numel() // 2, -1):
            spoiled = tensor.clone()
            spoiled.view(-1)[place] = value
            assert not is_finite(spoiled), (shape, place)
            assert not is_finite(spoiled.t() if spoiled.ndim == 2 else spoiled)


def test_large_values_integers_and_nothing_at_all_are_finite():
    for dtype in DTYPES:
        limits = torch.finfo(dtype)
        assert is_finite(torch.tensor([limits.max, limits.min] * 99, dtype=torch.float64).to(dtype))
    assert is_finite(torch.full((4,), torch.iinfo(torch.int64).max))
    assert is_finite(torch.empty(0, 4))
    e4m3 = torch.ones(4).to(torch.float8_e4m3fn)
    assert is_finite(e4m3)
    e4m3.view(torch.uint8)[2] = 0x7F  # its only NaN besides 0xFF
    assert not is_finite(e4m3)
    assert nonfinite_names([("a", e4m3), ("b", torch.ones(2))]) == ["a"]


def spoil(path, name, value):
    """Write a value into one tensor of a copy of a model's file."""
    pickled = path.suffix == ".pth"
    state = torch.load(path) if pickled else load_file(path)
    state[name].view(-1)[-1] = value
    torch.save(state, path) if pickled else save_file(state, path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantize_to", [None, "int8", "fp8"])
@pytest.mark.parametrize("name", ["blocks.3.ffn.2.weight", "head.modulation"])
def test_a_transformer(model, tmp_path, name, quantize_to, dtype):
    folder = write_official(tmp_path / "bad", "wan2.1-t2v-1.3b")
    load_dit(folder, dtype=getattr(torch, dtype), quantize_to=quantize_to)
    spoil(folder / "diffusion_pytorch_model.safetensors", name, float("nan"))
    with pytest.raises(WeightsError, match=rf"model.safetensors: {name} holds NaN") as error:
        load_dit(folder, dtype=getattr(torch, dtype), quantize_to=quantize_to)
    assert "\n" not in str(error.value)


def test_values_that_fp16_cannot_hold(tmp_path):
    folder = write_official(tmp_path / "wide", "wan2.1-t2v-1.3b")
    spoil(folder / "diffusion_pytorch_model.safetensors", "blocks.0.ffn.0.weight", 70000.0)
    load_dit(folder, dtype=torch.bfloat16)
    with pytest.raises(WeightsError, match=r"blocks\.0\.ffn\.0\.weight leaves the range of fp16"):
        load_dit(folder, dtype=torch.float16)


def test_vae_text_and_image_encoders(tmp_path):
    folder = write_official(tmp_path / "all", "wan2.1-i2v-14b-480p")
    components = find_components(folder)
    spoil(components.vae[0], "decoder.conv1.weight", float("inf"))
    with pytest.raises(WeightsError, match=r"VAE\.pth: decoder\.conv1\.weight holds NaN"):
        load_vae(folder)
    text = components.text_encoder
    load_umt5(text, CPU, torch.float32)[0].keep()
    spoil(text, "blocks.1.attn.k.weight", float("nan"))
    with pytest.raises(WeightsError, match=r"encoder\.block\.1\..*k\.weight holds NaN"):
        load_umt5(text, CPU, torch.float32)[0].keep()
    image = components.image_encoder
    load_image_encoder(image)
    spoil(image, "visual.transformer.0.mlp.0.weight", float("nan"))
    with pytest.raises(WeightsError, match=r"mlp\.fc1\.weight holds NaN"):
        load_image_encoder(image)
