"""LoRAs of few-step models: alpha 8 of rank 64, dense deltas, keys of a model with CLIP."""

import json

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

RANK, ALPHA = 64, 8.0
LAYERS = ("blocks.0.self_attn.q", "blocks.0.ffn.2", "head.head")


@pytest.fixture(scope="module")
def shapes():
    shape = DiTShape(
        dim=96, ffn_dim=128, num_layers=1, num_heads=2, in_channels=4, out_channels=4,
        text_dim=40, text_len=6, freq_dim=8,
    )  # fmt: skip
    with torch.device("meta"):
        model = WanModel(shape)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def theirs(layer):
    return to_diffusers([layer], DIT_KEYS)[layer]


def matrices(shapes, name, roles):
    tensors = {}
    for layer in LAYERS:
        out, into = shapes[f"{layer}.weight"]
        tensors[f"{name(layer)}.{roles[0]}.weight"] = random(RANK, into)
        tensors[f"{name(layer)}.{roles[1]}.weight"] = random(out, RANK)
    return tensors


AB, DOWN_UP = ("lora_A", "lora_B"), ("lora_down", "lora_up")
NAMES = {
    "official": (lambda n: f"diffusion_model.{n}", DOWN_UP),
    "official, A and B": (lambda n: f"diffusion_model.{n}", AB),
    "diffusers": (lambda n: f"transformer.{theirs(n)}", AB),
    "kohya": (lambda n: "lora_unet_" + n.replace(".", "_"), DOWN_UP),
    "no prefix": (lambda n: n, DOWN_UP),
}
ALPHAS = {
    "scalar": torch.tensor(ALPHA),
    "vector": torch.tensor([ALPHA]),
    "fp16": torch.tensor(ALPHA, dtype=torch.float16),
    "int64": torch.tensor(int(ALPHA)),
}


def check_alpha(path, shapes):
    loras = Loras([Lora(path)], shapes)
    assert len(loras) == len(LAYERS)
    for layer in LAYERS:
        name = f"{layer}.weight"
        out, into = shapes[name]
        # 8 / 64 is a power of two, so that not a bit may differ
        expected = (random(out, RANK) @ random(RANK, into)) * 0.125
        assert torch.equal(loras.merged(name, torch.zeros(out, into)), expected)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("names", NAMES)
def test_alpha_over_rank_is_the_factor(shapes, tmp_path, names, alpha):
    name, roles = NAMES[names]
    alphas = {f"{name(layer)}.alpha": ALPHAS[alpha].clone() for layer in LAYERS}
    save_file(matrices(shapes, name, roles) | alphas, tmp_path / "a.safetensors")
    check_alpha(tmp_path / "a.safetensors", shapes)


def test_alpha_in_the_settings_of_peft(shapes, tmp_path):
    tensors = matrices(shapes, lambda n: f"base_model.model.{theirs(n)}", AB)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 8}))
    check_alpha(tmp_path, shapes)


def test_alpha_in_the_header_of_diffusers(shapes, tmp_path):
    tensors = matrices(shapes, lambda n: f"transformer.{theirs(n)}", AB)
    settings = json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 8})
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file(tensors, path, metadata={"lora_adapter_metadata": settings})
    check_alpha(path, shapes)


DENSE = {
    "head.head.diff": "head.head.weight",
    "head.head.diff_b": "head.head.bias",
    "head.diff_m": "head.modulation",
    "blocks.0.diff_m": "blocks.0.modulation",
    "blocks.0.self_attn.norm_q.diff": "blocks.0.self_attn.norm_q.weight",
    "blocks.0.self_attn.k.diff_b": "blocks.0.self_attn.k.bias",
    "blocks.0.norm3.diff_b": "blocks.0.norm3.bias",
    "text_embedding.0.diff_b": "text_embedding.0.bias",
    "time_projection.1.diff_b": "time_projection.1.bias",
    "patch_embedding.diff_b": "patch_embedding.bias",
}
CLIP_ONLY = {
    "blocks.0.cross_attn.k_img.lora_down.weight": (RANK, 96),
    "blocks.0.cross_attn.k_img.lora_up.weight": (96, RANK),
    "blocks.0.cross_attn.k_img.alpha": (),
    "blocks.0.cross_attn.v_img.lora_down.weight": (RANK, 96),
    "blocks.0.cross_attn.v_img.lora_up.weight": (96, RANK),
    "blocks.0.cross_attn.v_img.diff_b": (96,),
    "blocks.0.cross_attn.norm_k_img.diff": (96,),
    "img_emb.proj.0.diff": (1280,),
    "img_emb.proj.1.lora_down.weight": (RANK, 1280),
    "img_emb.proj.1.lora_up.weight": (1280, RANK),
    "img_emb.proj.4.diff_b": (96,),
}


def test_a_file_made_of_a_model_with_clip_fits_one_without(shapes, tmp_path, caplog):
    """Dense deltas are applied, keys of CLIP's branch are left out, and one line says so."""
    dense = {key: random(*shapes[name]) for key, name in DENSE.items()}
    clip = {key: torch.ones(shape) for key, shape in CLIP_ONLY.items()}
    low_rank = matrices(shapes, lambda n: n, DOWN_UP)
    del low_rank["head.head.lora_down.weight"], low_rank["head.head.lora_up.weight"]
    tensors = {f"diffusion_model.{key}": t for key, t in (low_rank | dense | clip).items()}
    path = tmp_path / "distilled.safetensors"
    save_file(tensors, path)
    loras = Loras([Lora(path, 0.5)], shapes)
    for key, name in DENSE.items():
        got = loras.merged(name, torch.zeros(shapes[name]))
        assert torch.equal(got, dense[key] * 0.5), name
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "6 keys are left out" in lines[0]
    assert "the image branch" in lines[0]
    assert "\n" not in lines[0]
    with pytest.raises(WeightsError, match=r"model\.strict is true"):
        Loras([Lora(path)], shapes, strict=True)
