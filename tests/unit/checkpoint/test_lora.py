"""LoRA files of every public layout give the same delta, merged or attached, and no key is lost."""

import json

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.checkpoint.lora.layers import layer_names
from wanctl.checkpoint.save import save_dit
from wanctl.errors import UserError
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape
from wanctl.runtime.quantize import quantize

RANK, ALPHA = 3, 1.5
SHAPES = {
    "words": {},
    "image branch": {"image_dim": 24, "in_channels": 8},
    "two images": {"image_dim": 24, "image_tokens": 6, "in_channels": 8},
    "vace": {"vace_layers": (0, 2), "vace_channels": 12},
}


def small(**more) -> DiTShape:
    sizes = {
        "dim": 48, "ffn_dim": 64, "num_layers": 3, "num_heads": 2, "in_channels": 4,
        "out_channels": 4, "text_dim": 40, "text_len": 6, "freq_dim": 8,
    }  # fmt: skip
    return DiTShape(**sizes | more)


def matrices(model: WanModel) -> dict[str, tuple[int, ...]]:
    """Layers that have LoRA deltas -> shape of the weight."""
    return {
        name.removesuffix(".weight"): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.endswith(".weight") and tensor.ndim > 1
    }


def factors(model: WanModel, seed: int = 1) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: (
            torch.randn(RANK, *shape[1:], generator=generator) / 5,
            torch.randn(shape[0], RANK, *[1] * (len(shape) - 2), generator=generator) / 5,
        )
        for layer, shape in matrices(model).items()
    }


def theirs(layer: str) -> str:
    return to_diffusers([layer], DIT_KEYS)[layer]


def keyed(found, key, *, alpha=False):
    """The two matrices of every layer, under the names that `key` gives."""
    tensors = {}
    for layer, (down, up) in found.items():
        name, kinds = key(layer)
        tensors |= {f"{name}.{kinds[0]}.weight": down, f"{name}.{kinds[1]}.weight": up}
        if alpha:
            tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


AB, DOWN_UP = ("lora_A", "lora_B"), ("lora_down", "lora_up")


def peft(found, folder):
    """Files of PEFT's save_pretrained for a transformer with diffusers' names."""
    folder.mkdir()
    tensors = keyed(found, lambda layer: (f"base_model.model.{theirs(layer)}", AB))
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def diffusers(found, folder):
    """Files of a diffusers pipeline's save_lora_weights."""
    tensors = keyed(found, lambda layer: (f"transformer.{theirs(layer)}", AB))
    message = {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
    path = folder / "pytorch_lora_weights.safetensors"
    save_file(tensors, path, metadata={"lora_adapter_metadata": json.dumps(message)})
    return path


def musubi(found, folder):
    """Files of kohya's trainers."""
    path = folder / "musubi.safetensors"

    def key(layer):
        return "lora_unet_" + layer.replace(".", "_"), DOWN_UP

    save_file(keyed(found, key, alpha=True), path)
    return path


def lightning(found, folder):
    """Files of few-step LoRAs, without their dense deltas (tested apart)."""
    path = folder / "lightning.safetensors"
    save_file(keyed(found, lambda layer: (f"diffusion_model.{layer}", DOWN_UP), alpha=True), path)
    return path


def comfy(found, folder):
    """ComfyUI's prefix with PEFT's names of the matrices and no alpha."""
    path = folder / "comfy.safetensors"
    scaled = {layer: (down, up * (ALPHA / RANK)) for layer, (down, up) in found.items()}
    save_file(keyed(scaled, lambda layer: (f"diffusion_model.{layer}", AB)), path)
    return path


LAYOUTS = (peft, diffusers, musubi, lightning, comfy)


def inputs(shape: DiTShape) -> dict:
    generator = torch.Generator().manual_seed(5)

    def random(*sides):
        return torch.randn(*sides, generator=generator)

    given = {}
    if shape.image_dim:
        tokens = shape.image_tokens or 3
        given["image_BIE"] = random(1, tokens, shape.image_dim)
    if shape.vace_layers:
        given["control_BCTYX"] = random(1, shape.vace_channels, 2, 4, 4)
    return {
        "args": (
            random(1, shape.in_channels, 2, 4, 4), torch.tensor([500.0]),
            random(1, shape.text_len, shape.text_dim),
        ),
        "given": given,
    }  # fmt: skip


@torch.no_grad()
def velocity(model: WanModel) -> torch.Tensor:
    message = inputs(model.shape)
    return model(*message["args"], **message["given"])


def shapes_of(model: WanModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def load_attached(folder, loras: Loras, **options) -> WanModel:
    """A model whose LoRAs run in parallel as far as they can, as sampling loads 8-bit weights."""
    model = load_dit(folder, loras=loras, **options)
    loras.attach(model)
    return model


@pytest.fixture
def saved(random_dit, tmp_path):
    def save(kind: str):
        model = random_dit(small(**SHAPES[kind]))
        save_dit(model, tmp_path / "dit")
        return model, tmp_path / "dit"

    return save


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_gives_the_delta_merged_and_attached(saved, tmp_path, kind, write):
    model, folder = saved(kind)
    found = factors(model)
    path = write(found, tmp_path / "lora" if write is peft else tmp_path)
    loras = [Lora(path, 0.7)]
    merged = load_dit(folder, loras=loras)
    for name, before in model.state_dict().items():
        layer = name.removesuffix(".weight")
        delta = 0
        if layer in found and name.endswith(".weight"):
            down, up = found[layer]
            delta = 0.7 * ALPHA / RANK * (up.flatten(1) @ down.flatten(1)).reshape(before.shape)
        torch.testing.assert_close(merged.state_dict()[name], before + delta, rtol=0, atol=1e-6)
    every = Loras(loras, shapes_of(model))
    assert len(every) == len(found)
    attached = load_attached(folder, every)
    expected = velocity(merged)
    assert (expected - velocity(model)).abs().max() > 0.05
    distance = (velocity(attached) - expected).abs().max() / expected.abs().max()
    assert distance < 1e-5


def test_several_stack_with_their_strengths_in_any_order(saved, tmp_path):
    model, folder = saved("words")
    first = Lora(musubi(factors(model, 1), tmp_path), 0.5)
    second = Lora(comfy(factors(model, 2), tmp_path), -0.25)
    both = load_dit(folder, loras=[first, second])
    attached = load_attached(folder, Loras([second, first], shapes_of(model)))
    torch.testing.assert_close(velocity(attached), velocity(both), rtol=0, atol=2e-5)
    singly = velocity(load_dit(folder, loras=[first]))
    assert (singly - velocity(both)).abs().max() > 0.01


def test_dense_deltas_of_few_step_files(saved, tmp_path):
    model, folder = saved("words")
    state = model.state_dict()
    added = {
        "blocks.1.self_attn.q.diff_b": "blocks.1.self_attn.q.bias",
        "blocks.0.cross_attn.norm_q.diff": "blocks.0.cross_attn.norm_q.weight",
        "blocks.2.norm3.diff": "blocks.2.norm3.weight",
        "blocks.2.norm3.diff_b": "blocks.2.norm3.bias",
        "blocks.2.diff_m": "blocks.2.modulation",
        "head.diff_m": "head.modulation",
        "head.head.diff": "head.head.weight",
        "patch_embedding.diff": "patch_embedding.weight",
    }
    generator = torch.Generator().manual_seed(3)
    values = {k: torch.randn(state[n].shape, generator=generator) / 9 for k, n in added.items()}
    path = tmp_path / "few.safetensors"
    save_file({f"diffusion_model.{k}": v for k, v in values.items()}, path)
    merged = load_dit(folder, loras=[Lora(path, 0.5)])
    for key, name in added.items():
        torch.testing.assert_close(
            merged.state_dict()[name], state[name] + 0.5 * values[key], rtol=0, atol=1e-6
        )
    attached = load_attached(folder, Loras([Lora(path, 0.5)], shapes_of(model)))
    torch.testing.assert_close(velocity(attached), velocity(merged), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["words", "image branch"])
@pytest.mark.parametrize("write", [musubi, lightning, comfy])
def test_layers_are_those_that_diffusers_finds(saved, tmp_path, kind, write):
    """The converters of diffusers find the same layers and the same products in these files."""
    model, folder = saved(kind)
    kinds = {"self_attn", "cross_attn", "ffn"}
    found = {k: v for k, v in factors(model).items() if kinds & set(k.split("."))}
    path = write(found, tmp_path)
    convert = (
        _convert_musubi_wan_lora_to_diffusers
        if write is musubi
        else _convert_non_diffusers_wan_lora_to_diffusers
    )
    converted = convert(load_file(path))
    ours = load_dit(folder, loras=[Lora(path)]).state_dict()
    for layer in found:
        name = f"transformer.{theirs(layer)}"
        product = converted.pop(f"{name}.lora_B.weight") @ converted.pop(f"{name}.lora_A.weight")
        before = model.state_dict()[f"{layer}.weight"]
        torch.testing.assert_close(ours[f"{layer}.weight"] - before, product, rtol=0, atol=1e-5)
    assert not converted


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_8_bit_weights_take_a_parallel_path(saved, tmp_path, kind):
    model, folder = saved("vace")
    path = musubi(factors(model), tmp_path)
    attached = load_attached(folder, Loras([Lora(path)], shapes_of(model)), quantize_to=kind)
    bare = velocity(quantize(load_dit(folder), kind))
    expected, got = velocity(load_dit(folder, loras=[Lora(path)])), velocity(attached)
    assert (got - expected).norm() < 0.2 * (bare - expected).norm()


def test_experts_get_their_own(saved, tmp_path):
    model, folder = saved("words")
    found = factors(model)
    path = comfy(found, tmp_path)
    high = [Lora(path, expert="high")]
    changed = load_dit(folder, loras=high, expert="high").state_dict()
    left = load_dit(folder, loras=high, expert="low").state_dict()
    name = "blocks.0.ffn.0.weight"
    assert not torch.equal(changed[name], model.state_dict()[name])
    assert torch.equal(left[name], model.state_dict()[name])
    with pytest.raises(UserError, match="one transformer"):
        load_dit(folder, loras=high)


def test_a_pipeline_file_with_two_transformers(saved, tmp_path):
    model, folder = saved("words")
    tensors = {}
    for prefix, seed in (("transformer", 1), ("transformer_2", 2)):
        for layer, (down, up) in factors(model, seed).items():
            tensors[f"{prefix}.{theirs(layer)}.lora_A.weight"] = down
            tensors[f"{prefix}.{theirs(layer)}.lora_B.weight"] = up
    path = tmp_path / "both.safetensors"
    save_file(tensors, path)
    for expert, seed in (("high", 1), ("low", 2)):
        got = load_dit(folder, loras=[Lora(path)], expert=expert).state_dict()
        for layer, (down, up) in factors(model, seed).items():
            before = model.state_dict()[f"{layer}.weight"]
            delta = (up.flatten(1) @ down.flatten(1)).reshape(before.shape)
            torch.testing.assert_close(got[f"{layer}.weight"], before + delta, atol=1e-5, rtol=0)


def wrong_rank(found, folder):
    down, up = found["blocks.0.self_attn.q"]
    return musubi({**found, "blocks.0.self_attn.q": (down[:2], up)}, folder)


def one_more(found, folder):
    again = tuple(each.clone() for each in found["blocks.0.self_attn.q"])
    return comfy({**found, "blocks.9.self_attn.q": again}, folder)


def unknown_kind(found, folder):
    path = folder / "lokr.safetensors"
    save_file({"lora_unet_blocks_0_self_attn_q.lokr_w1": torch.ones(2, 2)}, path)
    return path


def half(found, folder):
    path = folder / "half.safetensors"
    save_file({"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.ones(3, 48)}, path)
    return path


def of_something_else(found, folder):
    path = folder / "flux.safetensors"
    save_file({"transformer.single_blocks.0.proj.lora_A.weight": torch.ones(3, 48)}, path)
    return path


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (wrong_rank, "blocks_0_self_attn_q (ranks 2 and 3)"),
        (one_more, "blocks.9.self_attn.q"),
        (unknown_kind, "blocks_0_self_attn_q (one of its two matrices is missing)"),
        (half, "blocks.0.self_attn.q (one of its two matrices is missing)"),
        (of_something_else, "does not seem to be for a Wan transformer"),
    ],
)
def test_keys_that_fit_nothing_are_named(saved, tmp_path, write, named):
    model, folder = saved("words")
    path = write(factors(model), tmp_path)
    with pytest.raises(WeightsError) as error:
        load_dit(folder, loras=[Lora(path)])
    assert named in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_lora_of_another_variant_says_which(tmp_path):
    shape = VARIANTS["wan2.1-t2v-1.3b"].dit
    with torch.device("meta"):
        model = WanModel(shape)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = {}
    for block in range(40):
        for layer in ("self_attn_q", "cross_attn_k_img"):
            name = f"lora_unet_blocks_{block}_{layer}"
            tensors[f"{name}.lora_down.weight"] = torch.zeros(1, 5120)
            tensors[f"{name}.lora_up.weight"] = torch.zeros(5120, 1)
    path = tmp_path / "i2v.safetensors"
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"80 keys fit nothing.*for wan2.1-i2v-14b-480p"):
        Loras([Lora(path)], shapes)


@pytest.mark.parametrize("path", ["no.safetensors", "text.txt", "folder"])
def test_files_without_a_lora_are_refused(saved, tmp_path, path):
    _, folder = saved("words")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(WeightsError, match="LoRA"):
        load_dit(folder, loras=[Lora(tmp_path / path)])


@pytest.mark.parametrize("name", VARIANTS)
def test_no_two_layers_are_spelt_alike(name):
    """With underscores for dots two names could become equal."""
    with torch.device("meta"):
        state = make_dit(VARIANTS[name].dit).state_dict()
    layers = {key.rpartition(".")[0] for key in state}
    spelt = layer_names(state)
    for layer in layers:
        for known in (layer, theirs(layer)):
            assert spelt[known] == spelt[known.replace(".", "_")] == layer
