"""Weights in fp8 with either kind of scale keys are read; scaled fp8 is written."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_models import spoil, write_official

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.inspection.check import check
from wanctl.checkpoint.load import load_dit


def test_fp8_has_scales_as_community_files_store_them(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    file = tmp_path / "fp8.safetensors"
    convert(str(start), file, ConversionOptions("single", "fp8", networks=("transformer",)))
    stored = load_file(file)
    prefix = "model.diffusion_model."
    assert stored[f"{prefix}scaled_fp8"].dtype == torch.float8_e4m3fn
    weight = stored[f"{prefix}blocks.0.ffn.0.weight"]
    scale = stored[f"{prefix}blocks.0.ffn.0.scale_weight"]
    assert (weight.dtype, scale.dtype, scale.shape) == (
        torch.float8_e4m3fn, torch.float32, torch.Size([]),
    )  # fmt: skip
    assert weight.float().abs().max() == 448
    model, exact = load_dit(file), load_dit(start)
    rounded = 0
    for name, tensor in model.state_dict().items():
        before = exact.state_dict()[name]
        if f"{prefix}{name.removesuffix('.weight')}.scale_weight" in stored:
            # e4m3 keeps three bits after the first: half of 2^-3 of a value
            limit = before.abs() * 2**-4 + before.abs().max() / 448 * 2**-10
            assert ((tensor - before).abs() <= limit).all(), name
            rounded += 1
        else:
            torch.testing.assert_close(tensor, before, rtol=2**-8, atol=0)
    assert rounded == 4 * 10
    convert(str(file), tmp_path / "wide", ConversionOptions("official", "fp32"))
    again = load_dit(tmp_path / "wide").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    assert check(str(file))[0].problems == ()


def test_every_file_has_its_source_key_and_aligned_tensors(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    file = tmp_path / "fp8.safetensors"
    convert(str(start), file, ConversionOptions("single", "fp8", networks=("transformer",)))
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata()["format"] == "pt"
        assert opened.metadata()["wanctl.layout"] == "single"
    head = file.read_bytes()[:8]
    size = int.from_bytes(head, "little")
    entries = json.loads(file.read_bytes()[8 : 8 + size])
    width = {"F32": 4, "BF16": 2, "F8_E4M3": 1}
    for name, entry in entries.items():
        if name != "__metadata__":
            assert (8 + size + entry["data_offsets"][0]) % width[entry["dtype"]] == 0


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("fp8", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_foreign_fp8_is_dequantized(tmp_path, fp8, scaled):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    state = load_file(start / "diffusion_pytorch_model.safetensors")
    expected = {}
    for name, tensor in dict(state).items():
        if scaled and not name.endswith("attn.q.weight"):
            expected[name] = tensor
            continue
        state[name] = tensor.to(fp8)
        expected[name] = state[name].float()
        if scaled:
            whole, rows = torch.tensor(0.5), torch.full((len(tensor), 1), 0.25)
            scale = rows if ".self_attn." in name else whole
            state[name.removesuffix("weight") + "weight_scale"] = scale
            expected[name] *= scale
    save_file(state, start / "diffusion_pytorch_model.safetensors")
    for name, tensor in load_dit(start).state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    convert(
        str(start),
        tmp_path / "to",
        ConversionOptions("diffusers", "fp32", networks=("transformer",)),
    )
    for name, tensor in load_dit(tmp_path / "to").state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_integers_with_scales_are_refused(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")

    def pack(state):
        name = "blocks.0.ffn.0.weight"
        state[name] = (state[name] * 10).to(torch.int8)
        state["blocks.0.ffn.0.weight_scale"] = torch.tensor(0.1)

    spoil(start, pack)
    for use in (
        lambda: load_dit(start),
        lambda: convert(str(start), tmp_path / "to", ConversionOptions("single")),
    ):
        with pytest.raises(WeightsError, match=r"blocks\.0\.ffn\.0\.weight: holds int8 with"):
            use()
