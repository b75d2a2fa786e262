"""`wanctl sample` on a model that diffusers saved, against diffusers' own pipeline."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from wanctl.checkpoint.lora.write import LoraLayer, write_lora
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.diffusion.schedules import make_schedule
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata

PROMPT, NEGATIVE = "a red fox runs over fresh snow", "blurry dark picture"
STEPS, SHIFT, GUIDE = 6, 5.0, 4.0


def small_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", *sorted({*PROMPT.split(), *NEGATIVE.split()})]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


VAE_21 = {"dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
VAE_22 = {
    **VAE_21, "decoder_base_dim": 6, "is_residual": True, "patch_size": 2, "in_channels": 12,
    "out_channels": 12, "scale_factor_spatial": 16,
}  # fmt: skip


def small_pipeline(vae_keys):
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    tokenizer = small_tokenizer()
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, temperal_downsample=[False, True, True], **vae_keys,
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.1, 2.0],
    )  # fmt: skip
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
        freq_dim=32, ffn_dim=48, num_layers=3, cross_attn_norm=True,
    )  # fmt: skip
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        )
    )  # fmt: skip

    class OfficialLevels(UniPCMultistepScheduler):
        def set_timesteps(self, num_inference_steps, device=None, **_):
            super().set_timesteps(num_inference_steps, device)
            schedule = make_schedule("unipc", num_inference_steps, SHIFT)
            self.sigmas, self.timesteps = schedule.sigmas, schedule.timesteps

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )
    parts = (tokenizer, text_encoder.eval(), vae.eval(), scheduler, transformer.eval())
    pipeline = WanPipeline(*parts, expand_timesteps="is_residual" in vae_keys)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, OfficialLevels.from_config(scheduler.config)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline and the folder it was saved to."""
    return save_pipeline(tmp_path_factory.mktemp("saved"), VAE_21)


def save_pipeline(folder, vae_keys):
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        pipeline, scheduler = small_pipeline(vae_keys)
        pipeline.save_pretrained(folder)
    pipeline.scheduler = scheduler
    return pipeline, folder


def recipe(folder, *overrides, name="wan2.1-t2v-1.3b"):
    settings = {
        "model.weights": folder, "sample.steps": STEPS, "sample.shift": SHIFT,
        "sample.guide_scale": GUIDE, "sample.negative_prompt": NEGATIVE, "sample.seed": 3,
        "sample.height": 32, "sample.width": 48, "sample.save_latents": "true", "device": "cpu",
    }  # fmt: skip
    return load_recipe(name, [*(f"{key}={value}" for key, value in settings.items()), *overrides])


def diffusers_output(pipeline, frames, output_type, height=32, width=48):
    noise = torch.randn(4, (frames - 1) // 4 + 1, 4, 6, generator=torch.Generator().manual_seed(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline(
            prompt=PROMPT, negative_prompt=NEGATIVE, height=height, width=width, num_frames=frames,
            num_inference_steps=STEPS, guidance_scale=GUIDE, latents=noise[None],
            output_type=output_type,
        ).frames  # fmt: skip


def test_latents_are_those_of_the_diffusers_pipeline(saved, tmp_path):
    pipeline, folder = saved
    [path] = sample(recipe(folder, "sample.frames=9"), PROMPT, tmp_path)
    ours = load_file(path.with_suffix(".safetensors"))["latents"]
    theirs = diffusers_output(pipeline, 9, "latent")
    assert ours.shape == theirs.shape == (1, 4, 3, 4, 6)
    assert theirs.std() > 0.5
    assert (ours - theirs).abs().max() <= 1e-4


def test_a_model_with_the_other_vae_gives_the_pictures_of_the_diffusers_pipeline(tmp_path):
    pipeline, folder = save_pipeline(tmp_path / "saved", VAE_22)
    sizes = ("sample.height=64", "sample.width=96")
    loaded = recipe(folder, "sample.task=t2i", *sizes, name="wan2.2-ti2v-5b")
    [path] = sample(loaded, PROMPT, tmp_path)
    ours = np.asarray(Image.open(path)).astype(int)
    theirs = (diffusers_output(pipeline, 1, "np", 64, 96)[0, 0] * 255).round().astype(int)
    assert ours.shape == (64, 96, 3)
    assert theirs.std() > 5
    assert abs(ours - theirs).max() <= 1
    [path] = sample(
        recipe(folder, "sample.frames=9", *sizes, name="wan2.2-ti2v-5b"), PROMPT, tmp_path
    )
    latents = load_file(path.with_suffix(".safetensors"))["latents"]
    assert (latents - diffusers_output(pipeline, 9, "latent", 64, 96)).abs().max() <= 1e-4


def test_a_picture_is_that_of_the_diffusers_pipeline(saved, tmp_path):
    pipeline, folder = saved
    [path] = sample(recipe(folder, "sample.task=t2i"), PROMPT, tmp_path)
    assert path.suffix == ".png"
    ours = np.asarray(Image.open(path)).astype(int)
    theirs = (diffusers_output(pipeline, 1, "np")[0, 0] * 255).round().astype(int)
    assert ours.shape == (32, 48, 3)
    assert theirs.std() > 5
    assert abs(ours - theirs).max() <= 1


def test_outputs_tell_how_they_were_made(saved, tmp_path):
    _, folder = saved
    loaded = recipe(folder, "sample.frames=5", "sample.fps=8")
    [path] = sample(loaded, PROMPT, tmp_path)
    assert path.parent == tmp_path / "samples"
    assert path.name.startswith("a-red-fox-runs-over-fresh-snow-s3-")
    said = read_metadata(path)
    with safe_open(path.with_suffix(".safetensors"), "pt") as file:
        also_said = file.metadata()
    expected = {
        "prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": "3", "solver": "unipc",
        "steps": "6", "shift": "5.0", "guide_scale": "4.0", "frames": "5", "fps": "8.0",
        "recipe": loaded.dump(),
    }  # fmt: skip
    assert expected.items() <= said.items()
    assert expected.items() <= also_said.items()
    assert said["software"].startswith("wanctl ")
    assert str(folder) in said["dit_weights"]


def test_a_file_of_prompts_makes_only_what_is_missing(saved, tmp_path):
    _, folder = saved
    loaded = recipe(folder, "sample.frames=1", "sample.save_latents=false")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# animals\na red fox\n\nfresh snow\n", encoding="utf-8")
    first = sample(loaded, str(prompts), tmp_path)
    assert len(first) == 2
    times = [path.stat().st_mtime_ns for path in first]
    content = first[1].read_bytes()
    first[1].unlink()
    prompts.write_text("a red fox\nfresh snow\nblurry dark\n", encoding="utf-8")
    second = sample(loaded, str(prompts), tmp_path)
    assert second[:2] == first
    assert len(second) == 3
    assert first[0].stat().st_mtime_ns == times[0]
    assert first[1].read_bytes() == content
    assert sorted((tmp_path / "samples").iterdir()) == sorted(second)


def test_other_settings_and_other_weights_make_other_files(saved, tmp_path):
    _, folder = saved
    base = ("sample.frames=1", "sample.steps=1", "sample.guide_scale=1")
    paths = {
        sample(recipe(folder, *base, *extra), PROMPT, tmp_path)[0]
        for extra in ((), ("sample.seed=4",), ("sample.solver=euler",), ("sample.shift=2",))
    }
    assert len(paths) == 4


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_adapter_of_a_run_is_found_and_sampled_at_several_strengths(saved, tmp_path):
    """At strength 0 the output is the base's, bit for bit; each strength has its own."""
    _, folder = saved
    one = ("sample.frames=1", "sample.steps=2", "sample.save_latents=false")
    sweep = recipe(folder, *one, "sample.lora_strengths=[0, 0.5, 1]")
    with pytest.raises(UserError, match=r"lora_strengths: there is no LoRA: none in the run"):
        sample(sweep, PROMPT, tmp_path)
    (plain,) = sample(recipe(folder, *one), PROMPT, tmp_path / "base")
    layer = LoraLayer(torch.ones(2, 48), torch.ones(24, 2), 2.0)
    write_lora(tmp_path / "dit", {"blocks.0.ffn.2": layer}, "comfyui", {})
    *tiles, grid = sample(sweep, PROMPT, tmp_path)
    contents = [pixels(path) for path in tiles]
    assert len({each.tobytes() for each in contents}) == 3
    assert np.array_equal(contents[0], pixels(plain))
    (adapted,) = sample(recipe(folder, *one), PROMPT, tmp_path)
    assert adapted == tiles[2]
    height, width, _ = pixels(grid).shape
    assert (grid.name[:5], width > 3 * 160, height < 160) == ("grid-", True, True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder as training leaves it, with random weights of the demo's sizes."""
    out = tmp_path_factory.mktemp("run")
    tiny = VARIANTS["tiny"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(tiny.dit)
        torch.nn.init.normal_(model.head.head.weight, std=0.02)
        save_dit(model, out / "dit", metadata={"step": "1"})
        save_vae(WanVAE(tiny.vae), out / "vae", metadata={"step": "1"})
    return out


def test_a_cold_sample_of_the_demo_imports_no_large_library(trained):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from wanctl.recipe.load import load_recipe\n"
        "from wanctl.sample.run import sample\n"
        "recipe = load_recipe('tiny', ['sample.steps=2', 'sample.frames=5', 'device=cpu'])\n"
        f"[path] = sample(recipe, 'a red fox', Path({str(trained)!r}))\n"
        "print(path)\n"
        "heavy = {'diffusers', 'transformers', 'accelerate', 'torch._dynamo', 'sympy', 'triton'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path, heavy = done.stdout.splitlines()
    assert path.endswith(".mp4")
    assert heavy == "[]"


def test_trained_weights_and_their_encoder_go_before_those_of_the_recipe(trained, saved):
    _, folder = saved
    loaded = load_recipe(
        "tiny", [f"model.weights={folder}", "sample.steps=1", "sample.frames=1", "device=cpu"]
    )
    [path] = sample(loaded, PROMPT, trained)
    said = read_metadata(path)
    assert str(trained) in said["dit_weights"]
    assert said["text_weights"] == "minilm (packaged)"


def test_a_text_encoder_of_another_model_is_refused(saved, trained, tmp_path):
    _, folder = saved
    loaded = load_recipe(
        "wan2.1-t2v-1.3b", [f"model.weights={trained}", f"model.text_weights={folder}"]
    )
    with pytest.raises(ValueError, match=r"takes text of width 384 .* makes 16"):
        sample(loaded, PROMPT, tmp_path)
