"""CLIP's vision tower from both layouts, against transformers; what it is shown."""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.encoders.clip_vision import load_image_encoder, preprocessed
from wanctl.model.variants import CLIP_PIXEL_MEAN, CLIP_PIXEL_STD

SIZES = {
    "hidden_size": 160, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 2, "image_size": 28, "patch_size": 7, "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}  # fmt: skip


LEAVES = ("weight", "bias")


@pytest.fixture(scope="module")
def tower():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPVisionModel(CLIPVisionConfig(**SIZES))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) * 2 - 1 for size in ((40, 30), (20, 64))]


def published(tower) -> dict[str, torch.Tensor]:
    """The same weights under the names and shapes of the published file."""
    state = {k.removeprefix("vision_model."): v for k, v in tower.state_dict().items()}
    tensors = {
        "visual.cls_embedding": state["embeddings.class_embedding"][None, None],
        "visual.pos_embedding": state["embeddings.position_embedding.weight"][None],
        "visual.patch_embedding.weight": state["embeddings.patch_embedding.weight"],
        "visual.head": torch.zeros(160, 8),
        "log_scale": torch.zeros(()),
        "textual.norm.weight": torch.ones(4),
    }
    for leaf in LEAVES:
        tensors[f"visual.pre_norm.{leaf}"] = state[f"pre_layrnorm.{leaf}"]
        tensors[f"visual.post_norm.{leaf}"] = state[f"post_layernorm.{leaf}"]
        for n in range(tower.config.num_hidden_layers):
            ours, theirs = f"visual.transformer.{n}", f"encoder.layers.{n}"
            tensors[f"{ours}.attn.to_qkv.{leaf}"] = torch.cat(
                [state[f"{theirs}.self_attn.{part}_proj.{leaf}"] for part in "qkv"]
            )
            for a, b in (
                ("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("mlp.0", "mlp.fc1"),
                ("mlp.2", "mlp.fc2"), ("attn.proj", "self_attn.out_proj"),
            ):  # fmt: skip
                tensors[f"{ours}.{a}.{leaf}"] = state[f"{theirs}.{b}.{leaf}"]
    return tensors


def by_transformers(tower, pictures):
    pixels = torch.stack([preprocessed(picture, SIZES["image_size"]) for picture in pictures])
    with torch.no_grad():
        return tower(pixels, output_hidden_states=True).hidden_states[-2]


@pytest.mark.parametrize("layout", ["folder", "pth"])
def test_hidden_states_before_the_last_block(tower, pictures, tmp_path, layout):
    path = tmp_path / "models_clip.pth"
    if layout == "pth":
        torch.save(published(tower), path)
    else:
        path = tmp_path / "image_encoder"
        tower.save_pretrained(path)
    encoder = load_image_encoder(path)
    assert encoder.width == 160
    expected = by_transformers(tower, pictures)
    got = encoder(pictures)
    assert got.shape == (2, 17, 160)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def test_half_precision_weights_are_near(tower, pictures, tmp_path):
    tower.save_pretrained(tmp_path)
    expected = by_transformers(tower, pictures)
    got = load_image_encoder(tmp_path, dtype=torch.float16)(pictures)
    assert got.dtype == torch.float32
    # measured 0.0033 at a standard deviation of 1.5
    assert 0 < (got - expected).abs().max() < 0.02


def test_a_picture_is_stretched_and_not_cut():
    rows = torch.linspace(-1, 1, 64)[None, :, None].expand(3, 64, 16)
    got = preprocessed(rows.contiguous(), 224)
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD))
    shown = (got * std + mean) * 2 - 1
    assert got.shape == (3, 224, 224)
    # both ends of the long side are still there; a centre cut would show -0.25 to 0.25
    assert shown[:, 0].mean() < -0.95
    assert shown[:, -1].mean() > 0.95


def test_overshoot_is_not_clamped_and_nothing_is_smoothed():
    checks = torch.ones(3, 448, 448)
    checks[:, ::2] = -1
    expected = F.interpolate(checks[None], (224, 224), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD))
    torch.testing.assert_close(preprocessed(checks, 224), (expected[0] / 2 + 0.5 - mean) / std)
    step = torch.cat((torch.ones(3, 8, 16), -torch.ones(3, 8, 16)), dim=1)
    assert (preprocessed(step, 64)[0] * CLIP_PIXEL_STD[0] + CLIP_PIXEL_MEAN[0]).max() > 1.01


def test_the_layout_is_that_of_the_published_file():
    """Names and shapes of the whole file; its words' half, which is never read, is spelt out."""
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16,
        image_size=224, patch_size=14,
    )  # fmt: skip
    with torch.device("meta"):
        tensors = published(CLIPVisionModel(config))
    shapes = {k: tuple(v.shape) for k, v in tensors.items() if k.startswith("visual.")}
    shapes |= {"visual.head": (1280, 1024), "log_scale": ()}
    width = 1024
    for name, rows in (("token", 250_002), ("type", 1), ("pos", 514)):
        shapes[f"textual.{name}_embedding.weight"] = (rows, width)
    shapes |= {f"textual.head.{n}.weight": (width, width) for n in (0, 2)}
    sides = {f"attn.{part}": (width, width) for part in "qkvo"}
    sides |= {"ffn.0": (4 * width, width), "ffn.2": (width, 4 * width)}
    for n in range(24):
        for name, shape in sides.items():
            shapes[f"textual.blocks.{n}.{name}.weight"] = shape
            shapes[f"textual.blocks.{n}.{name}.bias"] = shape[:1]
        for name in ("norm1", "norm2"):
            shapes |= {f"textual.blocks.{n}.{name}.{leaf}": (width,) for leaf in LEAVES}
    shapes |= {f"textual.norm.{leaf}": (width,) for leaf in LEAVES}
    parts = [f"{name}:{'_'.join(map(str, shape))}" for name, shape in shapes.items()]
    digest = hashlib.md5(",".join(sorted([*parts, *shapes])).encode()).hexdigest()
    assert (digest, len(shapes)) == ("5941c53e207d62f20f9025686193c40b", 784)


def test_the_tower_of_the_published_file_is_recognised_by_its_tensors():
    from wanctl.encoders.clip_vision import config_from_tensors

    config = config_from_tensors(
        {
            "embeddings.patch_embedding.weight": (1280, 3, 14, 14),
            "embeddings.position_embedding.weight": (257, 1280),
            "encoder.layers.0.mlp.fc1.weight": (5120, 1280),
            **{f"encoder.layers.{n}.layer_norm1.weight": (1280,) for n in range(32)},
        },
        "",
    )
    assert (config.num_hidden_layers, config.num_attention_heads) == (32, 16)
    assert (config.image_size, config.patch_size, config.hidden_act) == (224, 14, "gelu")


def test_other_files_are_refused(tower, tmp_path):
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="not CLIP's vision tower"):
        load_image_encoder(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        load_image_encoder(tmp_path)
    less = published(tower)
    del less["visual.transformer.1.mlp.2.bias"]
    torch.save(less, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(encoder\.layers\.1\.mlp\.fc2\.bias\)"):
        load_image_encoder(tmp_path / "b.pth")
