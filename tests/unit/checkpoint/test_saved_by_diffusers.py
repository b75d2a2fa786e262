"""Files of diffusers' save_pretrained are read under all the names that it gives them."""

import copy
import json

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from safetensors.torch import load_file, save_file
from small_models import contents

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.inspection.check import check
from wanctl.checkpoint.inspection.inspect import inspect
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.cli.main import main

WAYS = {
    "one file": {},
    "split": {"max_shard_size": "40KB"},
    "fp16": {"variant": "fp16"},
    "bf16": {"variant": "bf16"},
    "split bf16": {"variant": "bf16", "max_shard_size": "40KB"},
    "pickled": {"safe_serialization": False},
}
STEM = "diffusion_pytorch_model"


def saved(folder, way="one file", *, control=False):
    """A model folder without text encoder, in the dtype of its name."""
    torch.manual_seed(0)
    sizes = {
        "num_attention_heads": 1, "attention_head_dim": 128, "ffn_dim": 96, "num_layers": 2,
        "in_channels": 4, "out_channels": 4, "text_dim": 40, "freq_dim": 32,
    }  # fmt: skip
    dit = (
        WanVACETransformer3DModel(**sizes, vace_layers=[0], vace_in_channels=6)
        if control
        else WanTransformer3DModel(**sizes)
    )
    vae = AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True],
        latents_mean=[0.5] * 4, latents_std=[2.0] * 4,
    )  # fmt: skip
    formats = {"fp16": torch.float16, "bf16": torch.bfloat16}
    dtype = formats.get(WAYS[way].get("variant", ""), torch.float32)
    for place, network in (("transformer", dit), ("vae", vae)):
        rounded = copy.deepcopy(network).to(dtype)
        rounded.save_pretrained(folder / place, **WAYS[way])
        network.load_state_dict(rounded.state_dict())  # its tables of positions stay fp32
    return dit.eval(), vae.eval()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_save_is_read(tmp_path, way):
    dit, vae = saved(tmp_path / "from", way)
    found = find_components(tmp_path / "from")
    split = "split" in way
    assert (len(found.dit or ()) > 1, len(found.vae or ()) > 1) == (split, split)
    latents, context = torch.randn(1, 4, 2, 4, 4), torch.randn(1, 5, 40)
    video, timesteps = torch.rand(1, 3, 5, 16, 16), torch.tensor([400.0])
    ours = load_vae(found)
    with torch.no_grad():
        expected = dit(latents, timesteps, context, return_dict=False)[0]
        got = load_dit(found)(latents, timesteps, context)
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)
        expected = vae.encode(video).latent_dist.mode()
        torch.testing.assert_close(ours.moments(video)[0], expected, atol=2e-5, rtol=0)
    assert ours.shape.latent_mean == (0.5,) * 4

    assert [row[-1] for row in inspect(str(tmp_path / "from")).rows] == ["yes", "yes"]
    assert not any(result.problems for result in check(str(tmp_path / "from")))
    convert(str(tmp_path / "from"), tmp_path / "to", ConversionOptions("diffusers", "fp32"))
    tensors = contents(tmp_path / "to")
    for place, network in (("transformer", dit), ("vae", vae)):
        assert tensors[place].keys() == network.state_dict().keys()
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensors[place][name].float(), tensor), name


def test_control_blocks_are_read_from_shards(tmp_path):
    dit, _ = saved(tmp_path, "split", control=True)
    latents, context, control = (
        torch.randn(1, 4, 2, 4, 4), torch.randn(1, 5, 40), torch.randn(1, 6, 2, 4, 4),
    )  # fmt: skip
    timesteps = torch.tensor([400.0])
    with torch.no_grad():
        expected = dit(
            latents, timesteps, context, control_hidden_states=control, return_dict=False
        )[0]
        got = load_dit(tmp_path)(latents, timesteps, context, control_BCTYX=control)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


def test_full_precision_goes_before_other_formats(tmp_path):
    saved(tmp_path, "fp16")
    exact, _ = saved(tmp_path, "split")
    assert torch.equal(load_dit(tmp_path).patch_embedding.weight, exact.patch_embedding.weight)
    assert inspect(str(tmp_path)).rows[0][2] == "F32"


def second_shard(folder):
    return sorted(folder.glob(f"{STEM}-*.safetensors"))[1]


def lose_a_shard(folder):
    path = second_shard(folder)
    path.unlink()
    return f"files are missing, e.g. {path.name}"


def name_a_tensor_too_many(folder):
    """In the index, and in no file."""
    index = json.loads((folder / f"{STEM}.safetensors.index.json").read_text())
    path = folder / index["weight_map"]["blocks.0.ffn.net.2.bias"]
    state = load_file(path)
    state.pop("blocks.0.ffn.net.2.bias")
    save_file(state, path)
    return "1 missing (blocks.0.ffn.2.bias)"


def cut_a_shard(folder):
    path = second_shard(folder)
    path.write_bytes(path.read_bytes()[:-50])
    return f"{path.name}: not a complete safetensors file"


def spoil_the_index(folder):
    path = folder / f"{STEM}.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": [1, 2]}))
    return "no index of shards; need tensor names under `weight_map`"


def cut_the_index(folder):
    path = folder / f"{STEM}.safetensors.index.json"
    path.write_text(path.read_text()[:100])
    return "index.json: not readable as JSON"


SPOILT = [lose_a_shard, name_a_tensor_too_many, cut_a_shard, spoil_the_index, cut_the_index]


@pytest.mark.parametrize("command", ["inspect", "check", "convert"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_incomplete_files_are_one_line(tmp_path, capsys, monkeypatch, spoil, command):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "from", "split")
    message = spoil(tmp_path / "from" / "transformer")
    capsys.readouterr()
    with pytest.raises(WeightsError) as error:
        load_dit("from")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    if command == "inspect" and spoil is name_a_tensor_too_many:
        assert message in inspect("from").problems[0]  # shows what there is all the same
        return
    more = ["to", "--layout", "official"] if command == "convert" else []
    with pytest.raises(SystemExit) as stop:
        main(["weights", command, "from", *more])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    (line,) = captured.err.splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["from"]
