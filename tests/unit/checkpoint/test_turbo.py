"""Transformers as TurboDiffusion stores them: int8 blocks, a matrix that embeds patches, SLA."""

import pytest
import torch
from safetensors.torch import save_file
from small_models import random_state

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.stored_views import dequantize_blocks
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.networks import TRANSFORMER, open_network
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=256, ffn_dim=320, num_layers=2, num_heads=2, text_dim=16, freq_dim=8)


def plain_state():
    with torch.device("meta"):
        sizes = {name: tuple(t.shape) for name, t in WanModel(SHAPE).state_dict().items()}
    return random_state(sizes, scale=0.3)


def is_quantised(name, tensor):
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def quantised(matrix):
    """(int8, scales): the largest value of each block of 128 x 128 becomes 127."""
    rows, columns = (-(-side // 128) for side in matrix.shape)
    scale = torch.empty(rows, columns)
    stored = torch.empty_like(matrix, dtype=torch.int8)
    for i in range(rows):
        for j in range(columns):
            part = slice(128 * i, 128 * (i + 1)), slice(128 * j, 128 * (j + 1))
            scale[i, j] = matrix[part].abs().max() / 127
            stored[part] = (matrix[part] / scale[i, j]).round().to(torch.int8)
    return stored, scale


def turbo_state(state, *, branch=0.0):
    """The state as TurboDiffusion's quantised files store it."""
    out = {}
    for name, tensor in state.items():
        if name == "patch_embedding.weight":
            out[name] = tensor.flatten(1)
        elif is_quantised(name, tensor):
            layer = name.removesuffix(".weight")
            out[f"{layer}.int8_weight"], out[f"{layer}.scale"] = quantised(tensor)
        else:
            out[name] = tensor
    for block in range(SHAPE.num_layers):
        linear = f"blocks.{block}.self_attn.attn_op.local_attn.proj_l"
        out |= {
            f"{linear}.weight": torch.full((128, 128), branch),
            f"{linear}.bias": torch.zeros(128),
        }
    return out


@pytest.fixture
def files(tmp_path):
    """The model in a `.pth` and in safetensors; the first with the prefix of a trainer."""
    state = turbo_state(plain_state())
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, tmp_path / "turbo.pth")
    save_file(state, tmp_path / "turbo.safetensors")
    return tmp_path / "turbo.pth", tmp_path / "turbo.safetensors"


def test_weights_are_int8_times_the_scale_of_their_block(files):
    state = plain_state()
    for file in files:
        loaded = load_dit(file).state_dict()
        more = {name for name in loaded if ".attn_op.local_attn.proj_l." in name}
        assert (loaded.keys() - more, len(more)) == (state.keys(), 4)
        for name, tensor in state.items():
            if not is_quantised(name, tensor):
                assert torch.equal(loaded[name], tensor), name
                continue
            stored, scale = quantised(tensor)
            rows = torch.arange(tensor.shape[0])[:, None] // 128
            columns = torch.arange(tensor.shape[1])[None] // 128
            assert torch.equal(loaded[name], stored.float() * scale[rows, columns]), name
            assert (loaded[name] - tensor).abs().max() <= scale.max() / 2 + 1e-6


def test_other_readers_see_plain_weights(files):
    pickled, stored = (find_components(file) for file in files)
    assert dit_fingerprint(pickled) == dit_fingerprint(stored)
    network = open_network(TRANSFORMER, stored.dit)
    lazy = network.tensors["blocks.1.ffn.0.weight"]
    assert lazy.dtype == torch.float32
    assert torch.equal(lazy.read(), load_dit(stored).state_dict()["blocks.1.ffn.0.weight"])
    assert network.shapes["patch_embedding.weight"] == (256, 16, 1, 2, 2)


def test_a_half_precision_run_rounds_once(files):
    whole, half = load_dit(files[1]), load_dit(files[1], dtype=torch.bfloat16)
    name = "blocks.0.self_attn.q.weight"
    assert torch.equal(half.state_dict()[name], whole.state_dict()[name].bfloat16())


def test_trained_sparse_linear_attention_is_loaded_in_fp32(tmp_path):
    torch.save(turbo_state(plain_state(), branch=0.1), tmp_path / "sla.pth")
    model = load_dit(tmp_path / "sla.pth", dtype=torch.bfloat16)
    assert model.shape.sparse_attention == "sla"
    weight = model.state_dict()["blocks.1.self_attn.attn_op.local_attn.proj_l.weight"]
    assert torch.equal(weight, torch.full((128, 128), 0.1))


def test_blocks_with_other_scales_are_refused(tmp_path):
    state = turbo_state(plain_state())
    state["blocks.1.ffn.0.scale"] = torch.ones(3)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"scales \(3,\); need int8, and a scale for each block"):
        load_dit(tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="holds float32"):
        dequantize_blocks("a", torch.ones(128, 128), torch.ones(1, 1))
    del state["blocks.1.ffn.0.scale"]
    torch.save(state, tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"1 unexpected \(blocks\.1\.ffn\.0\.int8_weight\)"):
        load_dit(tmp_path / "none.pth")
