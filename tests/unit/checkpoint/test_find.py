import json
import os

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components

STEM = "diffusion_pytorch_model"


def touch(root, *names) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def configure(root, name, **config) -> None:
    touch(root, name)
    (root / name).write_text(json.dumps(config))


def test_official_folder(tmp_path):
    touch(
        tmp_path, f"{STEM}.safetensors", "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth",
        "google/umt5-xxl/tokenizer.json",
    )  # fmt: skip
    configure(tmp_path, "config.json", _class_name="WanModel")
    parts = find_components(tmp_path)
    assert parts.layout == "official"
    assert parts.dit == (tmp_path / f"{STEM}.safetensors",)
    assert parts.dit_config == tmp_path / "config.json"
    assert parts.vae == (tmp_path / "Wan2.1_VAE.pth",)
    assert parts.vae_config is None
    assert parts.text_encoder == tmp_path / "models_t5_umt5-xxl-enc-bf16.pth"
    assert parts.tokenizer == tmp_path / "google" / "umt5-xxl"


def test_official_shards_come_in_the_order_of_the_index(tmp_path):
    shards = [f"{STEM}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    touch(tmp_path, *shards)
    configure(
        tmp_path, f"{STEM}.safetensors.index.json", weight_map={"b": shards[1], "a": shards[0]}
    )
    assert [path.name for path in find_components(tmp_path).dit] == shards
    (tmp_path / shards[1]).unlink()
    with pytest.raises(WeightsError, match=f"1 of 2 files are missing, e.g. {shards[1]}"):
        find_components(tmp_path)


def test_diffusers_pipeline(tmp_path):
    touch(
        tmp_path, "model_index.json", f"transformer/{STEM}.safetensors",
        f"vae/{STEM}.safetensors", "text_encoder/model.safetensors", "tokenizer/tokenizer.json",
    )  # fmt: skip
    for part in ("transformer", "vae"):
        configure(tmp_path, f"{part}/config.json")
    parts = find_components(tmp_path)
    assert parts.layout == "diffusers"
    assert parts.dit == (tmp_path / "transformer" / f"{STEM}.safetensors",)
    assert parts.vae_config == tmp_path / "vae" / "config.json"
    assert parts.text_encoder == tmp_path / "text_encoder"
    assert parts.tokenizer == tmp_path / "tokenizer"


def test_run_folder_and_its_parts(tmp_path):
    for part, size in (("dit", "num_layers"), ("vae", "z_dim")):
        touch(tmp_path, f"{part}/{STEM}.safetensors")
        configure(tmp_path, f"{part}/config.json", **{size: 16})
    whole = find_components(tmp_path)
    assert whole.layout == "wanctl"
    assert whole.dit == find_components(tmp_path / "dit").dit
    only_vae = find_components(tmp_path / "vae")
    assert (only_vae.vae, only_vae.dit) == (whole.vae, None)


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        (
            ("model.diffusion_model.patch_embedding.weight", "model.diffusion_model.blocks.0.b"),
            "dit",
        ),
        (("encoder.conv1.weight", "decoder.conv1.weight"), "vae"),
        (("token_embedding.weight", "blocks.0.ffn.gate.0.weight"), "text_encoder"),
    ],
)
def test_single_files_are_known_by_their_tensors(tmp_path, tensors, part):
    path = tmp_path / "file.safetensors"
    save_file({name: torch.zeros(1) for name in tensors}, path)
    found = getattr(find_components(path), part)
    assert found == (path if part == "text_encoder" else (path,))


def test_nothing_known_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match="holds no weights known here"):
        find_components(tmp_path)
    with pytest.raises(WeightsError, match="no file or folder 'a/b/c'"):
        find_components("a/b/c")


def test_missing_hub_model_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        find_components("Wan-AI/Wan2.1-T2V-1.3B")
    message = str(caught.value)
    assert "\n" not in message
    assert os.fspath(tmp_path) in message
    assert "hf download Wan-AI/Wan2.1-T2V-1.3B --local-dir DIR" in message
    assert "--set model.weights=DIR" in message


def test_two_experts_in_the_official_layout(tmp_path):
    for name in ("high_noise_model", "low_noise_model"):
        touch(tmp_path, f"{name}/{STEM}.safetensors")
        configure(tmp_path, f"{name}/config.json", _class_name="WanModel")
    touch(tmp_path, "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth")
    parts = find_components(tmp_path)
    high, low = tmp_path / "high_noise_model", tmp_path / "low_noise_model"
    assert (parts.dit, parts.dit_config) == ((high / f"{STEM}.safetensors",), high / "config.json")
    assert parts.low_expert.dit == parts.dit_low == (low / f"{STEM}.safetensors",)
    assert parts.low_expert.dit_config == low / "config.json"
    assert parts.low_expert.vae == parts.vae == (tmp_path / "Wan2.1_VAE.pth",)


def test_clips_vision_tower_in_every_layout(tmp_path):
    clip = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    touch(tmp_path, f"a/{STEM}.safetensors", f"a/{clip}", "b/model_index.json")
    touch(tmp_path, "b/image_encoder/model.safetensors")
    configure(tmp_path, "b/image_encoder/config.json", model_type="clip_vision_model")
    assert find_components(tmp_path / "a").image_encoder == tmp_path / "a" / clip
    encoder = tmp_path / "b" / "image_encoder"
    assert find_components(tmp_path / "b").image_encoder == encoder
    assert find_components(encoder).image_encoder == encoder
    torch.save({"visual.cls_embedding": torch.zeros(1, 1, 4)}, tmp_path / "eyes.pth")
    assert find_components(tmp_path / "eyes.pth").image_encoder == tmp_path / "eyes.pth"
