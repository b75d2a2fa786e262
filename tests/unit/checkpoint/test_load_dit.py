import json
import warnings

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPES = {
    "one_head": {
        "num_attention_heads": 1,
        "attention_head_dim": 128,
        "ffn_dim": 200,
        "num_layers": 1,
    },
    "wide_text": {
        "num_attention_heads": 3,
        "attention_head_dim": 32,
        "ffn_dim": 96,
        "num_layers": 3,
    },
    "odd_split": {
        "num_attention_heads": 2,
        "attention_head_dim": 22,
        "ffn_dim": 64,
        "num_layers": 2,
    },
}


def diffusers_model(name: str) -> WanTransformer3DModel:
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        **SHAPES[name], in_channels=4, out_channels=4, text_dim=40, freq_dim=32
    )
    for parameter in model.parameters():  # norms of one and biases of zero would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def tiny_model() -> WanModel:
    shape = DiTShape(
        dim=128, ffn_dim=64, num_layers=2, num_heads=1, in_channels=4, out_channels=4,
        text_dim=8, text_len=6, freq_dim=8,
    )  # fmt: skip
    return WanModel(shape).init_weights(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("precision", ["fast", "reference"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("grid", [(1, 2, 2), (3, 6, 10), (2, 14, 2)])
def test_diffusers_model_gives_the_same_numbers(tmp_path, name, grid, precision):
    theirs = diffusers_model(name)
    theirs.save_pretrained(tmp_path / "transformer")
    ours = load_dit(tmp_path, precision=precision)
    latents, context = torch.randn(2, 4, *grid), torch.randn(2, 5, 40)
    timesteps = torch.tensor([999, 7])
    with torch.no_grad():
        expected = theirs(latents, timesteps, context, return_dict=False)[0]
        got = ours(latents, timesteps, context)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


def test_bf16_is_as_near_to_fp32_as_diffusers(tmp_path):
    theirs = diffusers_model("wide_text")
    theirs.save_pretrained(tmp_path)
    latents, context = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 5, 40)
    timesteps = torch.tensor([999, 700])
    with torch.no_grad():
        exact = theirs(latents, timesteps, context, return_dict=False)[0]
        half = WanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
        args = latents.bfloat16(), timesteps, context.bfloat16()
        allowed = (half(*args, return_dict=False)[0] - exact).square().mean()
        for precision in ("fast", "reference"):
            ours = load_dit(tmp_path, dtype=torch.bfloat16, precision=precision)
            assert (ours(latents, timesteps, context) - exact).square().mean() <= allowed


@pytest.mark.parametrize("max_shard_bytes", [None, 100_000])
def test_official_to_diffusers_and_back_is_bit_equal(tmp_path, max_shard_bytes):
    model = tiny_model()
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    save_dit(model, first, max_shard_bytes=max_shard_bytes, metadata={"recipe": "tiny"})
    assert (len(find_components(first).dit) > 1) == (max_shard_bytes is not None)
    save_dit(load_dit(first), second, layout="diffusers")
    save_dit(load_dit(second), third)
    stored = load_file(third / "diffusion_pytorch_model.safetensors")
    assert stored.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, stored[name]), name


def test_diffusers_reads_what_is_saved_for_it(tmp_path):
    model = tiny_model()
    save_dit(model, tmp_path, layout="diffusers")
    theirs = WanTransformer3DModel.from_pretrained(tmp_path)
    assert torch.equal(theirs.proj_out.bias, model.head.head.bias)


def test_a_smaller_save_replaces_the_shards_of_a_larger_one(tmp_path):
    save_dit(tiny_model(), tmp_path, max_shard_bytes=100_000)
    save_dit(tiny_model(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_community_single_file_loads_without_a_config(tmp_path, suffix):
    model = tiny_model()
    path = tmp_path / f"model{suffix}"
    tensors = {f"model.diffusion_model.{n}": t for n, t in model.state_dict().items()}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    loaded = load_dit(path)
    assert loaded.shape.num_layers == 2
    assert torch.equal(loaded.head.head.bias, model.head.head.bias)


def test_loading_casts_only_large_matrices(tmp_path):
    save_dit(tiny_model(), tmp_path)
    model = load_dit(tmp_path, dtype=torch.bfloat16)
    assert model.blocks[1].ffn[0].weight.dtype == torch.bfloat16
    assert model.blocks[1].self_attn.norm_q.weight.dtype == torch.float32


def save_broken(folder, change) -> None:
    model = tiny_model()
    save_dit(model, folder)
    tensors = dict(model.state_dict())
    change(tensors)
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.modulation"), r"1 missing \(head.modulation\)"),
        (lambda t: t.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (
            lambda t: t.update({"head.modulation": torch.zeros(1, 2, 5)}),
            r"1 of another shape \(head.modulation \(1, 2, 5\) instead of \(1, 2, 128\)\)",
        ),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path, change, message):
    save_broken(tmp_path, change)
    with pytest.raises(WeightsError, match=message) as caught:
        load_dit(tmp_path)
    assert "\n" not in str(caught.value)


def edit_config(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_other_kinds_of_model_are_refused(tmp_path):
    save_dit(tiny_model(), tmp_path)
    edit_config(tmp_path, model_type="a2v")
    with pytest.raises(WeightsError, match="a a2v model with patch"):
        load_dit(tmp_path)


def test_files_that_are_not_weights_are_refused(tmp_path):
    save_dit(tiny_model(), tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_dit(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="JSON"):
        load_dit(tmp_path)
    pickle = tmp_path / "evil.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"x": print}, pickle)
    with pytest.raises(WeightsError, match="not a file of tensors"):
        load_dit(pickle)
