"""Rows of VARIANTS with the same parts and tiny widths, their weights, and recipes cut to them.

A recipe of a 14B model is then run as it is, but for its sizes, on a processor in a second.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.model.dit.networks import make_dit
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import FaceShape, SpeechShape, Variant
from wanctl.recipe.load import LoadedRecipe, load_recipe
from wanctl.sample.pipeline import SamplingPipeline
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata

# hidden size, heads and head width such that the rotary embedding's three axes have channels each
DIM, HEADS, LAYERS = 48, 2, 2
CLIP_DIM = 32
SMALL_SPEECH = SpeechShape(layers=3, width=16, tokens=2, blocks=(0,))
SMALL_FACE = FaceShape((8, 8, 12), style=10, motions=4, width=12, hidden=8, heads=2, every=2)
PACKAGED_TEXT_DIM = 384


def small_variant(variant: Variant) -> Variant:
    """The row with two blocks of 48 channels, a VAE of width 4 and the packaged text encoder."""
    dit = replace(
        variant.dit,
        dim=DIM, num_heads=HEADS, num_layers=LAYERS, ffn_dim=64, freq_dim=32,
        text_dim=PACKAGED_TEXT_DIM, text_len=64,
        image_dim=CLIP_DIM if variant.dit.image_dim else None,
        image_tokens=variant.dit.image_tokens and 2 * (1 + 4),
        vace_layers=(0,) if variant.dit.vace_layers else (),
        face=SMALL_FACE if variant.dit.face else None,
        speech=SMALL_SPEECH if variant.dit.speech else None,
    )  # fmt: skip
    decoder_dim = 4 if variant.vae.decoder_dim else None
    vae = replace(variant.vae, dim=4, decoder_dim=decoder_dim, num_res_blocks=1)
    return replace(variant, dit=dit, vae=vae, text_encoder="minilm", hub=None)


def write_small_weights(folder: Path, variant: Variant) -> None:
    """Random weights of a small variant: transformers, VAE, and CLIP where it reads images."""
    torch.manual_seed(0)
    for name in ("dit", "dit_low")[: variant.experts]:
        model = make_dit(variant.dit)
        for parameter in model.parameters():  # the published start is zero in places
            parameter.data += 0.02 * torch.randn_like(parameter)
        save_dit(model, folder / name)
    save_vae(WanVAE(variant.vae), folder / "vae")
    if variant.dit.image_dim:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        sizes: dict[str, Any] = {
            "hidden_size": CLIP_DIM,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
        }
        config = CLIPVisionConfig(**sizes, num_attention_heads=2, image_size=14, patch_size=7)
        CLIPVisionModel(config).save_pretrained(folder / "image_encoder")

    if variant.dit.speech:
        write_small_audio_encoder(folder / "wav2vec2-small")


def write_small_audio_encoder(folder: Path) -> None:
    """Random weights of wav2vec2, as a folder of transformers, with a head as published."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    sizes: dict[str, Any] = {
        "hidden_size": SMALL_SPEECH.width,
        "num_hidden_layers": SMALL_SPEECH.layers - 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }
    config = Wav2Vec2Config(
        **sizes, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)


def sample_small(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *keys: str, steps: int = 2
) -> tuple[torch.Tensor, dict[str, str]]:
    """Latents and header of 5 frames of 32 x 48 pixels by a small model of a row's kind.

    Args:
        folder: of the run; the model's random weights are written there.
        monkeypatch: puts the small row into the place of the row.
        name: of the recipe, which is that of the row.
        keys: more settings.
        steps: of sampling.
    """
    small = small_variant(VARIANTS[name])
    monkeypatch.setitem(VARIANTS, name, small)
    if not (folder / "dit").exists():
        write_small_weights(folder, small)
    plain = (
        "device=cpu", "sample.save_latents=true", f"sample.steps={steps}", "sample.height=32",
        "sample.width=48", "sample.frames=5",
    )  # fmt: skip
    eyes = [f"model.image_weights={folder / 'image_encoder'}"] * bool(small.dit.image_dim)
    [path] = sample(load_recipe(name, [*plain, *eyes, *keys]), "a red fox", folder)
    return load_file(path.with_suffix(".safetensors"))["latents"], read_metadata(path)


def stop_before_clip(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int | str]:
    """Let the first run stop before this clip is made; returns the list of clips that are."""
    plain, calls = SamplingPipeline.denoise, []

    def stopping(self, request, conditions, texts, clip, label):
        if clip == number and len(calls) == number:
            raise KeyboardInterrupt
        calls.append(clip)
        return plain(self, request, conditions, texts, clip, label)

    monkeypatch.setattr(SamplingPipeline, "denoise", stopping)
    return calls


def small_settings(loaded: LoadedRecipe, weights: Path, steps: int) -> list[str]:
    """Overrides for a few steps on clips of 32 pixels; all other keys stay those of the recipe.

    Args:
        loaded: the recipe.
        weights: folder of `write_small_weights`; for recipes that start from published weights.
        steps: of training.
    """
    section, model = loaded.recipe.train_dit, loaded.recipe.model
    small = VARIANTS[model.variant]
    side = 2 * small.vae.spatial_stride
    buckets, seen = [], set()
    for bucket in section.buckets:
        size = (
            min(bucket.frames, 5),
            side if bucket.height <= bucket.width else 2 * side,
            side if bucket.height >= bucket.width else 2 * side,
        )
        if size not in seen:
            seen.add(size)
            keys = zip(("frames", "height", "width"), size, strict=True)
            buckets.append(f"{{{', '.join(f'{key}: {value}' for key, value in keys)}}}")
    numbers = {
        "steps": steps, "clip_fps": 8, "buckets": f"[{', '.join(buckets)}]", "trackers": "[]",
        "windows_per_clip": 1, "accumulate": min(2, section.accumulate), "checkpoint_every": 1,
        "eval_every": steps, "preview_every": steps, "preview_steps": 1, "log_every": 1,
        "optimizer.warmup_steps": 0, "holdout": 0.3,
    }  # fmt: skip
    if small.experts > 1:
        numbers |= {"expert_steps": 1, "expert_share": 0.5}
    refs = [f"model.weights={weights}"] if model.weights else []
    if model.vae_weights or not model.weights:
        refs.append(f"model.vae_weights={weights / 'vae'}")
    if small.dit.image_dim and not model.weights:
        refs.append(f"model.image_weights={weights / 'image_encoder'}")
    return [*refs, *(f"train_dit.{key}={value}" for key, value in numbers.items())]
