"""LoRA files written for other programs: each of them computes what was trained."""

import json
import math
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.convert.lora import convert_lora, stored_layers
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.checkpoint.lora.files import read_lora
from wanctl.checkpoint.lora.write import ADAPTER_FILES, adapter_step, find_adapter, write_lora
from wanctl.checkpoint.registry.refusals import is_lora
from wanctl.checkpoint.save import save_dit
from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.attach import AdapterOptions, Target, attach_adapter
from wanctl.train.adapters.prepare import lora_layers

SHAPE = DiTShape(
    dim=32, ffn_dim=64, num_layers=2, num_heads=2, in_channels=16, out_channels=16,
    text_dim=12, text_len=6, freq_dim=16,
)  # fmt: skip
TARGETS = (
    Target("blocks.*.self_attn.q", 2, 2.0),
    Target("blocks.*.self_attn", 4, 8.0),
    Target("blocks.*.cross_attn", 4, 3.0),
    Target("blocks.1.ffn", 4, 8.0),
    Target("text_embedding", 3, 7.0),
)
KINDS = ("lora", "rslora", "dora")


def inputs():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 3, 4, 4, generator=generator)
    return latents, torch.tensor([700.0]), torch.randn(1, 6, 12, generator=generator)


def trained(random_dit, kind, targets=TARGETS):
    """A transformer with an adapter whose matrices have moved."""
    model = random_dit(SHAPE)
    generator = torch.Generator().manual_seed(2)
    for layer in attach_adapter(model, AdapterOptions(kind, targets, 0.0, 0)).values():
        layer.lora_B.data.normal_(std=0.2, generator=generator)
        if layer.magnitude is not None:
            growth = torch.rand(len(layer.magnitude), generator=generator)
            layer.magnitude.data *= 0.8 + 0.4 * growth
    return model


@pytest.fixture
def velocities(random_dit):
    """Kind -> (adapted transformer, its velocity, that of the base)."""

    def make(kind, targets=TARGETS):
        model = trained(random_dit, kind, targets)
        with torch.no_grad():
            return model, model(*inputs()), random_dit(SHAPE)(*inputs())

    return make


def distance(one, other, base):
    """Relative to a velocity, a third of which is the adapter's doing."""
    assert (other - base).norm() > 0.2 * other.norm()
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("layout", ADAPTER_FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_merged_from_its_file_equals_attached(random_dit, velocities, tmp_path, kind, layout):
    model, attached, base = velocities(kind)
    save_dit(random_dit(SHAPE), tmp_path / "base")
    write_lora(tmp_path / "lora", lora_layers(model), "peft", {"step": "3"})
    path = write_lora(tmp_path / "lora", lora_layers(model), layout, {"step": "7", "base": "x"})
    assert find_adapter(tmp_path / "lora") == path
    assert adapter_step(tmp_path / "lora") == 7
    files = {file.name for file in (tmp_path / "lora").iterdir()}
    assert files == {path.name} | ({"adapter_config.json"} if layout == "peft" else set())
    for place in (path, path.parent):
        merged = load_dit(tmp_path / "base", loras=[Lora(place)])
        with torch.no_grad():
            assert distance(merged(*inputs()), attached, base) < 1e-5  # measured 3e-7


@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_on_an_8_bit_model_it_runs_beside_the_matrices(random_dit, velocities, tmp_path, kind):
    model, attached, base = velocities(kind)
    save_dit(random_dit(SHAPE), tmp_path / "base")
    path = write_lora(tmp_path, lora_layers(model), "comfyui", {})
    loras = Loras(
        [Lora(path)], {n: tuple(p.shape) for n, p in random_dit(SHAPE).named_parameters()}
    )
    loaded = load_dit(tmp_path / "base", loras=loras, quantize_to="int8")
    loras.attach(loaded)
    with torch.no_grad():
        assert (
            distance(loaded(*inputs()), attached, base) < 0.05
        )  # measured 6e-3, that of int8 itself


# diffusers drops DoRA's norms from files in ComfyUI's names, and refuses what is left.
@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        ("lora", "comfyui"), ("rslora", "comfyui"), ("lora", "diffusers"), ("rslora", "diffusers"),
        ("dora", "diffusers"), ("lora", "kohya"),
    ],
)  # fmt: skip
def test_diffusers_loads_it_and_computes_the_same(random_dit, velocities, tmp_path, kind, layout):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

        targets = TARGETS
        if layout == "kohya":  # of these names it knows whole blocks and nothing else
            targets = (Target("blocks.*", 4, 8.0),)
        model, attached, base = velocities(kind, targets)
        save_dit(random_dit(SHAPE), tmp_path / "transformer", layout="diffusers")
        theirs = WanTransformer3DModel.from_pretrained(tmp_path / "transformer").eval()
        pipeline = WanPipeline(
            tokenizer=None, text_encoder=None, vae=None,
            scheduler=FlowMatchEulerDiscreteScheduler(), transformer=theirs,
        )  # fmt: skip
        path = write_lora(tmp_path, lora_layers(model), layout, {})
        latents, times, context = inputs()
        with torch.no_grad():
            plain = theirs(latents, times, context, return_dict=False)[0]
            assert (plain - base).norm() < 1e-4 * base.norm()
            pipeline.load_lora_weights(path)
            got = theirs(latents, times, context, return_dict=False)[0]
        assert distance(got, attached, base) < 1e-4  # measured 2e-6


@pytest.mark.parametrize("kind", KINDS)
def test_peft_loads_it_and_computes_the_same(random_dit, velocities, tmp_path, kind):
    from peft import PeftModel

    model, attached, base = velocities(kind)
    write_lora(tmp_path, lora_layers(model), "peft", {"base": "Wan-AI/some-model"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PeftModel.from_pretrained(random_dit(SHAPE), str(tmp_path)).eval()
    with torch.no_grad():
        assert distance(theirs(*inputs()), attached, base) < 1e-4  # measured 3e-7


def comfyui_merged(weights, path):
    """ComfyUI's rules: the key of each weight, two spellings of the matrices, alpha over rank.

    A weight `diffusion_model.X.weight` is known as `diffusion_model.X` and as `lora_unet_X` with
    underscores; a key that belongs to no weight is reported as not loaded.
    """
    stored, left = load_file(path), set(load_file(path))
    merged = dict(weights)
    for name, weight in weights.items():
        plain = name.removesuffix(".weight")
        for key in (f"diffusion_model.{plain}", f"lora_unet_{plain.replace('.', '_')}"):
            for up, down in (
                ("lora_up.weight", "lora_down.weight"),
                ("lora_B.weight", "lora_A.weight"),
            ):
                if f"{key}.{up}" not in stored:
                    continue
                used = {f"{key}.{part}" for part in (up, down, "alpha", "dora_scale")}
                b, a = stored[f"{key}.{up}"], stored[f"{key}.{down}"]
                alpha = stored.get(f"{key}.alpha")
                scale = 1.0 if alpha is None else alpha.item() / a.shape[0]
                merged[name] = weight + scale * (b @ a)
                norms = stored.get(f"{key}.dora_scale")
                if norms is not None:
                    assert norms.shape == (weight.shape[0], 1)
                    merged[name] = merged[name] * (norms / merged[name].norm(dim=1, keepdim=True))
                left -= used
    assert not left
    return merged


@pytest.mark.parametrize("layout", ["comfyui", "kohya"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_follows_the_key_rules_of_comfyui(random_dit, velocities, tmp_path, kind, layout):
    model, attached, base = velocities(kind)
    path = write_lora(tmp_path, lora_layers(model), layout, {"recipe": "r: 1", "variant": "v"})
    merged = random_dit(SHAPE)
    merged.load_state_dict(comfyui_merged(merged.state_dict(), path))
    with torch.no_grad():
        assert distance(merged(*inputs()), attached, base) < 1e-4  # measured 3e-7
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "recipe": "r: 1", "variant": "v"}


def test_alphas_and_ranks_stand_in_the_settings_of_peft_and_diffusers(velocities, tmp_path):
    model, *_ = velocities("rslora")
    write_lora(tmp_path / "peft", lora_layers(model), "peft", {})
    config = json.loads((tmp_path / "peft/adapter_config.json").read_text())
    assert (config["r"], config["use_rslora"]) == (4, False)
    assert config["rank_pattern"]["blocks.1.self_attn.q"] == 2
    # the factor of rsLoRA, alpha over the root of the rank, as an alpha over the rank
    assert config["alpha_pattern"]["blocks.1.self_attn.q"] == pytest.approx(2 * math.sqrt(2))
    path = write_lora(tmp_path / "diffusers", lora_layers(model), "diffusers", {})
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["lora_adapter_metadata"])
    assert settings["transformer.rank_pattern"]["blocks.1.attn1.to_q"] == 2
    assert settings["transformer.alpha_pattern"] == settings["transformer.rank_pattern"]


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_converting_through_all_layouts_keeps_every_value(velocities, tmp_path, kind):
    layers = lora_layers(velocities(kind)[0])
    path = write_lora(tmp_path, layers, "comfyui", {"recipe": "r: 1"})
    for number, layout in enumerate(("kohya", "peft", "diffusers", "comfyui")):
        path = convert_lora(path, tmp_path / str(number), layout)
    with safe_open(path, "pt") as file:
        assert file.metadata()["recipe"] == "r: 1"
    for name, layer in stored_layers(read_lora(path)).items():
        before = layers[name]
        assert torch.equal(layer.down, before.down)
        assert torch.allclose(layer.scaled_up, before.scaled_up, rtol=1e-6)
        same = layer.magnitude is None or torch.equal(layer.magnitude, before.magnitude)
        assert same, name
    half = convert_lora(path, tmp_path / "half.safetensors", "kohya", "bf16")
    assert {t.dtype for n, t in load_file(half).items() if "alpha" not in n} == {torch.bfloat16}


def test_a_lora_that_no_layout_can_hold(velocities, tmp_path):
    path = write_lora(tmp_path / "one", lora_layers(velocities("lora")[0]), "comfyui", {})
    lokr = tmp_path / "lokr.safetensors"
    key = "lycoris_blocks_0_ffn_0"
    save_file({f"{key}.lokr_w1": torch.ones(2, 2), f"{key}.lokr_w2": torch.ones(2, 2)}, lokr)
    other = tmp_path / "other.safetensors"
    save_file({f"double_blocks.0.x.lora_{m}.weight": torch.ones(2, 2) for m in "AB"}, other)
    for source, layout, message in (
        (path, "official", "is a LoRA; no layout named 'official'"),
        (lokr, "peft", "blocks.0.ffn.0.weight|cannot be written under other names"),
        (other, "peft", "cannot be written under other names: double_blocks"),
    ):
        with pytest.raises(UserError, match=message):
            convert_lora(source, tmp_path / "to", layout)
    with pytest.raises(UserError, match="exists; remove it"):
        convert_lora(path, tmp_path / "one", "kohya")
    assert [is_lora(p) for p in (path, path.parent, lokr, tmp_path)] == [True, True, True, False]
