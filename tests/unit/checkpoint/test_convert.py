"""Conversion through other layouts keeps every bit of every variant."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from small_models import PUBLISHED, contents, published_text, spoil, write_official
from transformers import CLIPVisionModel, UMT5EncoderModel

from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert, parse_size
from wanctl.checkpoint.files import lazy_tensors as lazy
from wanctl.checkpoint.files.tensor_files import WeightsError, iterate_tensors
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.inspection.check import check
from wanctl.checkpoint.inspection.inspect import inspect, notes
from wanctl.checkpoint.load import load_dit, load_vae
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.encoders.clip_vision import load_image_encoder
from wanctl.errors import UserError
from wanctl.model.dit.networks import make_dit
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for network, tensors in one.items():
        assert tensors.keys() == other[network].keys(), network
        for name, tensor in tensors.items():
            assert tensor.dtype == other[network][name].dtype, name
            assert torch.equal(tensor, other[network][name]), name


def test_what_a_layout_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    shape = load_dit(start).shape
    save_dit(make_dit(replace(shape, second_timestep=True)), start)
    with pytest.raises(WeightsError, match="layout diffusers: has no second timestep"):
        convert(str(start), tmp_path / "theirs", ConversionOptions("diffusers"))
    assert not (tmp_path / "theirs").exists()
    convert(str(start), tmp_path / "back", ConversionOptions("official"))
    assert_equal(contents(start), contents(tmp_path / "back"))


SPEECH = "wan2.2-s2v-14b"  # of which diffusers has no class


def test_a_model_that_diffusers_has_not_stays_in_the_official_layout(tmp_path):
    start = write_official(tmp_path / "start", SPEECH)
    with pytest.raises(WeightsError, match="layout diffusers: has no class of S2V"):
        convert(str(start), tmp_path / "theirs", ConversionOptions("diffusers"))
    assert not (tmp_path / "theirs").exists()
    convert(str(start), tmp_path / "back", ConversionOptions("official"))
    assert_equal(contents(start), contents(tmp_path / "back"))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != SPEECH])
def test_official_to_diffusers_and_back_is_bit_equal(tmp_path, name):
    start = write_official(tmp_path / "start", name)
    convert(str(start), tmp_path / "theirs", ConversionOptions("diffusers", shard_bytes=60_000))
    convert(str(tmp_path / "theirs"), tmp_path / "back", ConversionOptions("official"))
    assert_equal(contents(start), contents(tmp_path / "back"))
    for config in start.rglob("config.json"):
        again = tmp_path / "back" / config.relative_to(start)
        assert json.loads(again.read_text()) == json.loads(config.read_text())
    theirs = find_components(tmp_path / "theirs")
    assert theirs.dit is not None
    assert len(theirs.dit) > 1
    assert (theirs.dit_low is not None) == (VARIANTS[name].experts == 2)
    model = WanTransformer3DModel if not VARIANTS[name].dit.vace_layers else None
    model = WanAnimateTransformer3DModel if VARIANTS[name].dit.face else model
    if model:
        loaded = model.from_pretrained(tmp_path / "theirs" / "transformer")
        stored = {n: t for f in theirs.dit for n, t in iterate_tensors(f)}
        assert loaded.state_dict().keys() == stored.keys()
    ours = load_dit(start).state_dict()
    for key, tensor in load_dit(theirs).state_dict().items():
        assert torch.equal(tensor, ours[key])


@pytest.mark.parametrize("name", ["wan2.1-i2v-14b-480p", "wan2.2-ti2v-5b"])
def test_diffusers_and_transformers_read_every_network(tmp_path, name):
    start = write_official(tmp_path / "start", name)
    convert(str(start), tmp_path / "theirs", ConversionOptions("diffusers"))
    text, loading_info = UMT5EncoderModel.from_pretrained(
        tmp_path / "theirs" / "text_encoder", output_loading_info=True
    )
    assert not any(loading_info.values())
    assert torch.equal(text.shared.weight, text.encoder.embed_tokens.weight)
    vae, loading_info = AutoencoderKLWan.from_pretrained(
        tmp_path / "theirs" / "vae", output_loading_info=True
    )
    assert not any(loading_info.values())
    assert len(vae.config.latents_mean) == VARIANTS[name].vae.z_dim
    if VARIANTS[name].dit.image_dim:
        _, loading_info = CLIPVisionModel.from_pretrained(
            tmp_path / "theirs" / "image_encoder", output_loading_info=True
        )
        assert not any(loading_info.values())
        picture = [torch.randn(3, 20, 30, generator=torch.manual_seed(0))]
        one = load_image_encoder(find_components(start).image_encoder)(picture)
        other = load_image_encoder(tmp_path / "theirs" / "image_encoder")(picture)
        assert torch.equal(one, other)


def test_single_files_and_back(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-flf2v-14b")
    written = convert(str(start), tmp_path / "single", ConversionOptions("single"))
    assert {path.name for path in written} == {
        "transformer.safetensors", "vae.safetensors", "text_encoder.safetensors",
        "image_encoder.safetensors",
    }  # fmt: skip
    stored = load_file(tmp_path / "single" / "transformer.safetensors")
    assert all(key.startswith("model.diffusion_model.") for key in stored)
    assert "shared.weight" in load_file(tmp_path / "single" / "text_encoder.safetensors")
    for path in written:
        convert(str(path), tmp_path / "back", ConversionOptions("official"))
    assert_equal(contents(start), contents(tmp_path / "back"))
    ours = load_dit(tmp_path / "single" / "transformer.safetensors").state_dict()
    for key, tensor in load_dit(start).state_dict().items():
        assert torch.equal(tensor, ours[key])


def test_a_single_text_encoder_carries_its_vocabulary(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    pieces = bytes(range(256)) * 3
    (start / "google" / "umt5-xxl" / "spiece.model").write_bytes(pieces)
    file = tmp_path / "text.safetensors"
    convert(str(start), file, ConversionOptions("single", "bf16", networks=("text_encoder",)))
    stored = load_file(file)["spiece_model"]
    assert (stored.dtype, stored.numpy().tobytes()) == (torch.uint8, pieces)
    assert check(str(file))[0].problems == ()
    convert(str(file), tmp_path / "again.safetensors", ConversionOptions("single"))
    assert torch.equal(load_file(tmp_path / "again.safetensors")["spiece_model"], stored)
    convert(str(file), tmp_path / "back", ConversionOptions("official"))
    assert_equal(
        contents(tmp_path / "back"),
        {
            name: tensors
            for name, tensors in contents(start).items()
            if name.startswith("models_t5")
        },
    )


@pytest.mark.parametrize(("dtype", "expected"), [("bf16", "bfloat16"), ("fp16", "float16")])
def test_formats_of_16_bits_leave_small_parameters_in_fp32(tmp_path, dtype, expected):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    convert(str(start), tmp_path / "to", ConversionOptions("official", dtype))
    stored = contents(tmp_path / "to")
    assert stored["."]["blocks.0.ffn.0.weight"].dtype == getattr(torch, expected)
    assert stored["."]["blocks.0.modulation"].dtype == torch.float32
    assert all(t.dtype == torch.float32 for t in stored["Wan2.1_VAE.pth"].values())
    for key, tensor in contents(start)["."].items():
        assert torch.equal(stored["."][key], tensor.to(stored["."][key].dtype))


def test_a_stopped_conversion_resumes(tmp_path, monkeypatch):
    start = write_official(tmp_path / "start", "wan2.2-t2v-a14b")
    options = ConversionOptions("diffusers", shard_bytes=60_000)
    real, done = lazy.write_safetensors, []

    def stopping(path, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(path)
        real(path, *rest)

    monkeypatch.setattr("wanctl.checkpoint.convert.run.write_safetensors", stopping)
    with pytest.raises(KeyboardInterrupt):
        convert(str(start), tmp_path / "to", options)
    assert not (tmp_path / "to" / "model_index.json").exists()
    before = {path: path.stat().st_mtime_ns for path in done}
    monkeypatch.setattr("wanctl.checkpoint.convert.run.write_safetensors", real)
    convert(str(start), tmp_path / "to", options)
    assert {path: path.stat().st_mtime_ns for path in done} == before
    convert(str(start), tmp_path / "at_once", options)
    assert_equal(contents(tmp_path / "to"), contents(tmp_path / "at_once"))
    convert(
        str(start), tmp_path / "to", ConversionOptions("diffusers")
    )  # otherwise split: nothing is left over
    assert not list((tmp_path / "to" / "transformer").glob("*-of-*"))
    assert not list((tmp_path / "to" / "transformer").glob("*.index.json"))


def test_inspect_reports_the_variant(tmp_path):
    start = write_official(tmp_path / "start", "wan2.2-i2v-a14b")
    (start / "models_t5_umt5-xxl-enc-bf16.pth").unlink()
    found = inspect(str(start))
    assert [row[0] for row in found.rows] == ["transformer", "transformer_2", "vae"]
    assert {row[1] for row in found.rows} == {"official"}
    assert all(row[-1] == "yes" for row in found.rows)
    assert found.missing == ["text_encoder"]
    assert ("variant", "not one known here") in notes(found)


@pytest.mark.parametrize("name", PUBLISHED)
def test_inspect_knows_the_published_sizes(tmp_path, name, monkeypatch):
    shape = VARIANTS[name].dit
    monkeypatch.setattr("wanctl.checkpoint.inspection.inspect.read_dit_shape", lambda _: shape)
    start = write_official(tmp_path / "start", name)
    known = [variant.name for variant in inspect(str(start)).variants]
    assert name in known
    assert {VARIANTS[each].dit for each in known} == {shape}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.norm3.weight"), "1 missing (blocks.1.norm3.weight)"),
        (lambda s: s.update(extra=torch.ones(2)), "1 unexpected (extra)"),
        (lambda s: s["head.head.weight"].view(-1)[3:4].fill_(float("nan")), "head.head.weight not"),
        (lambda s: s["head.head.bias"][:1].fill_(float("inf")), "1: head.head.bias not finite"),
    ],
)
def test_check_names_what_is_wrong(tmp_path, change, message):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    assert not any(result.problems for result in check(str(start)))
    spoil(start, change)
    problems = [problem for result in check(str(start)) for problem in result.problems]
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize("layout", ["official", "diffusers", "single"])
def test_parts_that_the_model_lacks_are_left_out_as_loading_does(tmp_path, caplog, layout):
    """Merged with a model that has an image branch, as few-step checkpoints are."""
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    plain = load_dit(start).state_dict()
    extra = {
        "blocks.0.cross_attn.k_img.weight": torch.ones(32, 32),
        "blocks.0.cross_attn.norm_k_img.weight": torch.ones(32),
        "freqs": torch.ones(1024, 8),
    }
    spoil(start, lambda state: state.update(extra))
    found = check(str(start))[0]
    assert (found.problems, found.fits, found.count) == ((), True, len(plain))
    assert inspect(str(start)).problems == []
    assert "3 keys are left out" in caplog.text
    assert "2 of the image branch" in caplog.text
    options = ConversionOptions(layout, networks=("transformer",))
    convert(str(start), tmp_path / "to", options)
    source = tmp_path / "to" / "transformer.safetensors" if layout == "single" else tmp_path / "to"
    caplog.clear()
    loaded = load_dit(source).state_dict()
    assert not caplog.records
    assert loaded.keys() == plain.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in plain.items())


def test_check_names_zero_and_constant_tensors(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    spoil(start, lambda s: (s["head.head.bias"].zero_(), s["blocks.0.norm3.weight"].fill_(1)))
    result = check(str(start))[0]
    assert (result.zero, result.constant) == (("head.head.bias",), ("blocks.0.norm3.weight",))
    assert result.problems == ()


def test_check_finds_an_empty_embedding(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    convert(str(start), tmp_path / "to", ConversionOptions("diffusers", networks=("text_encoder",)))
    path = tmp_path / "to" / "text_encoder" / "model.safetensors"
    state = load_file(path)
    state["encoder.embed_tokens.weight"].zero_()
    save_file(state, path)
    (result,) = check(str(tmp_path / "to" / "text_encoder"))
    assert "shared.weight and encoder.embed_tokens.weight differ" in result.problems[0]


@pytest.mark.parametrize(
    ("options", "to", "message"),
    [
        (ConversionOptions("comfy"), "to", "--layout"),
        (ConversionOptions("official", "int4"), "to", "--dtype"),
        (ConversionOptions("official", networks=("unet",)), "to", "--part"),
        (
            ConversionOptions("official", networks=("image_encoder",)),
            "to",
            "holds none of image_encoder",
        ),
        (ConversionOptions("diffusers", "fp8"), "to", "diffusers reads no scaled fp8"),
        (ConversionOptions("single"), "to.safetensors", "one file holds one part"),
        (ConversionOptions("diffusers"), "start", "holds the source weights"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, to, message):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    with pytest.raises(UserError, match=message) as error:
        convert(str(start), tmp_path / to, options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "to").exists()


def test_a_vae_with_statistics_of_its_own_stays_with_its_config(tmp_path):
    mean = tuple(range(16))
    vae = WanVAE(replace(VARIANTS["tiny"].vae, dim=4, latent_mean=mean))
    save_vae(vae, tmp_path / "vae")
    with pytest.raises(UserError, match="statistics of their own"):
        convert(str(tmp_path / "vae"), tmp_path / "to", ConversionOptions("official"))
    convert(str(tmp_path / "vae"), tmp_path / "to", ConversionOptions("diffusers"))
    assert load_vae(tmp_path / "to").shape.latent_mean == mean


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("1.5 mb", 1_500_000), ("700", 700), (None, None)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5XB", "0GB", "-1GB"])
def test_invalid_sizes_are_refused(text):
    with pytest.raises(UserError, match="--max-shard-size"):
        parse_size(text)


def test_the_text_encoder_has_the_published_keys():
    """Names and shapes have the fingerprint of the published file."""
    shapes = published_text(4096, 4096, 10240, 24, 64, 256384)
    rows = [f"{n}:{'_'.join(map(str, s))}" for n, s in shapes.items()] + list(shapes)
    digest = hashlib.md5(",".join(sorted(rows)).encode()).hexdigest()
    assert (digest, len(shapes)) == ("9c8818c2cbea55eca56c7b447df170da", 242)


def test_truncated_files_are_named(tmp_path):
    start = write_official(tmp_path / "start", "wan2.1-t2v-1.3b")
    path = start / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        inspect(str(start))
