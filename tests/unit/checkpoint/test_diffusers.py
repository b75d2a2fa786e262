"""diffusers and transformers open converted folders and compute the same outputs as wanctl."""

import json

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    DiffusionPipeline,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from PIL import Image
from small_models import write_official
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.model.variant_table import VARIANTS

# One of each kind: pipeline class, and what diffusers has to be told to run it.
KINDS = {
    "wan2.1-t2v-1.3b": ("WanPipeline", {"boundary_ratio": None, "expand_timesteps": False}),
    "wan2.1-i2v-14b-480p": ("WanImageToVideoPipeline", {"boundary_ratio": None}),
    "wan2.1-flf2v-14b": ("WanImageToVideoPipeline", {"boundary_ratio": None}),
    "wan2.1-vace-1.3b": ("WanVACEPipeline", {"boundary_ratio": None}),
    "wan2.2-t2v-a14b": ("WanPipeline", {"boundary_ratio": 0.875, "expand_timesteps": False}),
    "wan2.2-i2v-a14b": ("WanImageToVideoPipeline", {"boundary_ratio": 0.9}),
    "wan2.2-ti2v-5b": ("WanPipeline", {"boundary_ratio": None, "expand_timesteps": True}),
}
CLOSE = {"atol": 2e-5, "rtol": 0}


def random(*sides, seed=3):
    return torch.randn(*sides, generator=torch.Generator().manual_seed(seed))


def write_tokenizer(folder) -> None:
    """Letters, as umT5's tokenizer is stored."""
    letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    message = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0}
    message |= {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(message))


@pytest.fixture(params=KINDS)
def converted(request, tmp_path):
    """(variant, official folder, that folder converted to the diffusers layout)."""
    start = write_official(tmp_path / "start", request.param)
    write_tokenizer(start / "google" / "umt5-xxl")
    convert(str(start), tmp_path / "theirs", ConversionOptions("diffusers", shard_bytes=60_000))
    return VARIANTS[request.param], start, tmp_path / "theirs"


def opened(kind, folder):
    """A network, none of whose parameters is missing and none of whose settings is a guess."""
    model, loading_info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(loading_info.values())
    message = json.loads((folder / "config.json").read_text())
    assert message.pop("_class_name") == kind.__name__
    assert message == {k: v for k, v in json.loads(model.to_json_string()).items() if k[0] != "_"}
    return model.eval()


def test_networks_open_completely_and_give_the_same_numbers(converted):
    variant, start, folder = converted
    kind = WanVACETransformer3DModel if variant.dit.vace_layers else WanTransformer3DModel
    found = find_components(start)
    parts = {"transformer": found} | ({"transformer_2": found.low_expert} if found.dit_low else {})
    for place, part in parts.items():
        theirs, ours = opened(kind, folder / place), load_dit(part)
        shape = ours.shape
        given = random(1, shape.in_channels, 3, 4, 6), torch.tensor([600.0])
        context = random(1, 512, shape.text_dim)
        there, here = {}, {}
        if shape.image_dim:
            tokens = random(shape.image_tokens or 5, shape.image_dim)
            there["encoder_hidden_states_image"] = tokens.reshape(
                2 if shape.image_tokens else 1, -1, shape.image_dim
            )
            here["image_BIE"] = tokens[None]
        if shape.vace_layers:
            control = random(1, shape.vace_channels, 3, 4, 6, seed=4)
            there["control_hidden_states"] = here["control_BCTYX"] = control
        with torch.no_grad():
            expected = theirs(*given, context, **there, return_dict=False)[0]
            torch.testing.assert_close(ours(*given, context, **here), expected, **CLOSE)

    theirs, ours = opened(AutoencoderKLWan, folder / "vae"), load_vae(start)
    video = random(1, 3, 5, 32, 32).clamp(-1, 1)
    with torch.no_grad():
        mean, _ = ours.moments(video)
        expected = theirs.encode(video).latent_dist.mode()
        torch.testing.assert_close(mean, expected, **CLOSE)
        expected = theirs.decode(mean, return_dict=False)[0]
        torch.testing.assert_close(ours.decode(ours.normalise(mean)), expected, **CLOSE)


def test_the_pipeline_opens_and_runs(converted):
    variant, _, folder = converted
    pipeline = DiffusionPipeline.from_pretrained(folder)
    name, settings = KINDS[variant.name]
    assert type(pipeline).__name__ == name
    assert {key: pipeline.config[key] for key in settings} == settings
    assert pipeline.scheduler.config.flow_shift == variant.defaults.shift
    assert (pipeline.transformer_2 is not None) == (variant.experts == 2)
    pipeline.set_progress_bar_config(disable=True)
    picture = Image.new("RGB", (32, 32), (200, 30, 90))
    given = {"image": picture} if name == "WanImageToVideoPipeline" else {}
    if variant.dit.image_tokens:
        given["last_image"] = picture.rotate(90)
    made = pipeline(
        prompt="a cat", height=32, width=32, num_frames=5, num_inference_steps=3,
        guidance_scale=2.0, output_type="pt", generator=torch.manual_seed(0), **given,
    ).frames  # fmt: skip
    assert made.shape == (1, 5, 3, 32, 32)
    assert made.isfinite().all()
    assert made.std() > 0.01
