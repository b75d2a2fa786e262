"""One LoRA under sixty spellings, and every kind of adapter, against sums in fp64 written here.

The formulas were compared with those libraries where they were installed: fourteen kinds of PEFT
0.21 (merged) and fourteen of LyCORIS 4.1 (forward) agree to 2.4e-7.
"""

import json
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.checkpoint.lora.scales import configured_rank, scale_of
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

RANK, ALPHA = 4, 3.0
SIZES = {
    "dim": 48, "ffn_dim": 64, "num_layers": 2, "num_heads": 2, "in_channels": 4,
    "out_channels": 4, "text_dim": 40, "text_len": 6, "freq_dim": 8,
}  # fmt: skip
LAYERS = ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.1.ffn.2", "head.head")
CONV = "patch_embedding"


@pytest.fixture(scope="module")
def model():
    model = WanModel(DiTShape(**SIZES))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 5
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    save_dit(model, path)
    return path


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(hash(shape) % 999 + seed))


def shape_of(model, layer):
    return tuple(model.state_dict()[f"{layer}.weight"].shape)


def pair(model, layer, seed=0):
    outputs, inputs = shape_of(model, layer)
    return random(RANK, inputs, seed=seed) / 5, random(outputs, RANK, seed=seed + 1) / 5


def theirs(layer):
    return to_diffusers([layer], DIT_KEYS)[layer]


def check(folder, path, expected, *, strength=1.0, atol=2e-6, **options):
    """The merged model has `expected` changes (parameter -> fp64), and no others; so attached."""
    before, loras = load_dit(folder).state_dict(), [Lora(path, strength)]
    after = load_dit(folder, loras=loras, **options).state_dict()
    for name, tensor in before.items():
        change = expected.get(name, torch.zeros(())).double() * strength
        assert (after[name].double() - tensor.double() - change).abs().max() <= atol, name
    every = Loras(loras, {name: tuple(t.shape) for name, t in before.items()})
    attached = load_dit(folder, loras=every)
    every.attach(attached)
    layers = dict(attached.named_modules())
    for name, change in expected.items():
        if name.endswith(".weight") and before[name].ndim == 2:
            layer, x = layers[name.removesuffix(".weight")], random(5, before[name].shape[1])
            wanted = x.double() @ (before[name].double() + strength * change.double()).T
            bias = after[name.replace(".weight", ".bias")].double()
            torch.testing.assert_close(layer(x).double(), wanted + bias, rtol=0, atol=1e-4)


def low_rank(model, scale=ALPHA / RANK):
    """The changes of the pairs of all LAYERS."""
    found = {}
    for layer in LAYERS:
        down, up = pair(model, layer)
        found[f"{layer}.weight"] = up.double() @ down.double() * scale
    return found


def spelt(model, name, down=".lora_A.weight", up=".lora_B.weight", alpha=".alpha", **more):
    tensors = {}
    for layer in LAYERS:
        one, other = pair(model, layer)
        tensors |= {name(layer) + down: one, name(layer) + up: other}
        if alpha:
            tensors[name(layer) + alpha] = torch.tensor(ALPHA)
    return tensors


PREFIXES = (
    "", "module.", "model.", "unet.", "_orig_mod.", "diffusion_model.", "transformer.", "pipe.dit.",
    "base_model.model.", "model.diffusion_model.", "diffusion_model._orig_mod.", "net.model.",
    "base_model.model.transformer.", "module.base_model.model.model.", "generator_ema.model.",
    "_fsdp_wrapped_module.model._fsdp_wrapped_module.", "something.nobody.knows.",
)  # fmt: skip
UNDERSCORED = (
    "lora_unet_", "lora_unet__", "lycoris_", "lora_transformer_", "lora_unet__orig_mod_",
    "lora_unet_diffusion_model_", "model_diffusion_model_",
)  # fmt: skip
MATRICES = {
    "PEFT": (".lora_A.weight", ".lora_B.weight"),
    "PEFT adapter": (".lora_A.default.weight", ".lora_B.default.weight"),
    "PEFT named adapter": (".lora_A.my-style_2.weight", ".lora_B.my-style_2.weight"),
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "old diffusers": (".lora.down.weight", ".lora.up.weight"),
    "old processor": ("_lora.down.weight", "_lora.up.weight"),
    "linear layer": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "bare parameters": (".lora_A", ".lora_B"),
}


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(model, folder, tmp_path, prefix, layout):
    name = {"official": lambda n: prefix + n, "diffusers": lambda n: prefix + theirs(n)}[layout]
    save_file(spelt(model, name), tmp_path / "a.safetensors")
    check(folder, tmp_path / "a.safetensors", low_rank(model))


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("prefix", UNDERSCORED)
def test_underscores(model, folder, tmp_path, prefix, layout):
    def name(layer):
        return prefix + (layer if layout == "official" else theirs(layer)).replace(".", "_")

    save_file(
        spelt(model, name, ".lora_down.weight", ".lora_up.weight"), tmp_path / "a.safetensors"
    )
    check(folder, tmp_path / "a.safetensors", low_rank(model))


@pytest.mark.parametrize("kind", MATRICES)
def test_names_of_the_matrices(model, folder, tmp_path, kind):
    save_file(
        spelt(model, lambda n: f"transformer.{theirs(n)}", *MATRICES[kind]),
        tmp_path / "a.safetensors",
    )
    check(folder, tmp_path / "a.safetensors", low_rank(model), strength=-0.7)


def test_wrappers_inside_names(model, folder, tmp_path):
    def name(layer):
        return f"model.{layer}".replace("blocks.1.", "blocks.1._orig_mod.module.")

    save_file(spelt(model, name), tmp_path / "a.safetensors")
    check(folder, tmp_path / "a.safetensors", low_rank(model))
    underscored = spelt(model, lambda n: "lora_unet_" + name(n)[6:].replace(".", "_"))
    underscored = {k.replace("_module_", "_"): v for k, v in underscored.items()}
    save_file(underscored, tmp_path / "b.safetensors")
    check(folder, tmp_path / "b.safetensors", low_rank(model))


@pytest.mark.parametrize("suffix", ["pt", "ckpt", "bin", "pth"])
@pytest.mark.parametrize("wrap", [
    lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"module": {"lora": s}},
    lambda s: {"model": {k: v + 9 for k, v in s.items()}, "ema": s},
])  # fmt: skip
def test_containers(model, folder, tmp_path, suffix, wrap):
    torch.save(wrap(spelt(model, lambda n: f"diffusion_model.{n}")), tmp_path / f"a.{suffix}")
    check(folder, tmp_path / f"a.{suffix}", low_rank(model))


def write_peft(model, place, config, name="adapter_model.safetensors", **options):
    place.mkdir(parents=True)
    tensors = spelt(model, lambda n: f"base_model.model.{theirs(n)}", alpha="", **options)
    torch.save(tensors, place / name) if name.endswith(".bin") else save_file(tensors, place / name)
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA} | config
    (place / "adapter_config.json").write_text(json.dumps(settings))
    return place


def test_folders(model, folder, tmp_path):
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        check(folder, write_peft(model, tmp_path / name, {}, name), low_rank(model))
        check(folder, tmp_path / name / name, low_rank(model))
    hub = write_peft(model, tmp_path / "models--a--b" / "snapshots" / "0a1b", {}).parents[1]
    check(folder, hub, low_rank(model))
    one = tmp_path / "one"
    one.mkdir()
    save_file(spelt(model, lambda n: f"model.{n}"), one / "my style v2.safetensors")
    (one / "README.md").write_text("words")
    check(folder, one, low_rank(model))
    shutil.copy(one / "my style v2.safetensors", one / "v3.safetensors")
    with pytest.raises(WeightsError, match=r"2 files \(my style v2.safetensors, v3.*name the file"):
        load_dit(folder, loras=[Lora(one)])


PATTERNS = (
    ({r"blocks\.0\.attn1\.to_q": 1.0}, {"blocks.0.self_attn.q": 1.0}),
    ({"attn1.to_q": 1.0, "to_q": 9.0}, {"blocks.0.self_attn.q": 1.0}),
    ({"to_q": 2.0, "attn1.to_q": 9.0}, {"blocks.0.self_attn.q": 2.0}),
    ({r"blocks.\d+.attn2.*": 5.0}, {"blocks.1.cross_attn.o": 5.0}),
    ({r"^blocks.1.ffn.net.2": 6.0}, {"blocks.1.ffn.2": 6.0}),
    ({r"(to_q|proj_out)": 7.0}, {"blocks.0.self_attn.q": 7.0, "head.head": 7.0}),
    ({"o_q": 8.0, "blocks": 8.0, "to_out": 8.0, "q": 8.0}, {}),  # no whole word at the end
    ({"*.to_q": 1.0}, None),
    ({r"(a+)+b": 1.0}, None),
    ({r"x{99999999999999999999}": 1.0}, None),
    ({r"(?:.*blocks|layers)\.[0-9]+\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)": 3.0},
     {"blocks.0.self_attn.q": 3.0, "blocks.1.cross_attn.o": 3.0}),
)  # fmt: skip
# Each takes minutes or forever on the name of a layer.
SLOW_PATTERNS = (
    "((a*))*!", "(.|.)*!", r"(\w\.?)*!", ".*.*.*.*.*.*.*.*!", "(?:.?){60}!", ".?" * 60 + "!",
    "(.|..)" * 60 + "!", r"(?x:(\w|.) *!)", r"[\w.]+[\w.]+[\w.]+[\w.]+[\w.]+[\w.]+[\w.]+!",
    "(" * 490 + "a" + ")" * 490 + "*", ".{0,60}.{0,60}.{0,60}.{0,60}.{0,60}.{0,60}!", "a" * 2000,
)  # fmt: skip


@pytest.mark.parametrize(("patterns", "own"), PATTERNS)
def test_patterns_are_regular_expressions_as_in_peft_and_the_first_counts(
    model, folder, tmp_path, patterns, own
):
    path = write_peft(model, tmp_path / "a", {"alpha_pattern": patterns, "lora_alpha": 4})
    if own is None:
        with pytest.raises(WeightsError, match=r"no regular expression|repeats a group"):
            load_dit(folder, loras=[Lora(path)])
        return
    alphas = {f"{layer}.weight": own.get(layer, 4.0) for layer in LAYERS}
    check(folder, path, {k: v * alphas[k] / RANK for k, v in low_rank(model, 1.0).items()})


@pytest.mark.parametrize("key", ["alpha_pattern", "rank_pattern"])
@pytest.mark.parametrize("pattern", SLOW_PATTERNS)
def test_patterns_that_may_take_forever_are_refused_before_they_are_tried(pattern, key):
    config = {"r": 4, "lora_alpha": 4, key: {"to_q": 2, pattern: 1}}
    name = "transformer_blocks.12.attn1.to_out.0"
    read = partial(scale_of, rank=4, alpha=None) if key == "alpha_pattern" else configured_rank
    with pytest.raises(WeightsError, match=f"x: {key}: .*repeats a group, or is too long"):
        read([name], config=config, where="x")


def test_settings_of_dora_without_its_norms_are_named(model, folder, tmp_path):
    path = write_peft(model, tmp_path / "a", {"use_dora": True})
    with pytest.raises(WeightsError, match="DoRA by its settings, and the norms are missing"):
        load_dit(folder, loras=[Lora(path)])


def test_a_pattern_for_each_layer_is_read_at_once():
    patterns = {
        rf"^blocks\.{i}\.attn{j}\.to_{k}$": i for i in range(1, 40) for j in "12" for k in "qkv"
    }
    config = {"lora_alpha": 4, "alpha_pattern": patterns}
    assert scale_of(["blocks.39.attn2.to_v"], 3, None, config, "x") == 13


def test_rank_stabilised_and_invalid_alphas(model, folder, tmp_path):
    path = write_peft(model, tmp_path / "rs", {"use_rslora": True})
    check(folder, path, low_rank(model, ALPHA / RANK**0.5))
    for number, value in enumerate(["4", None, True, [1], float("nan"), float("inf")]):
        path = write_peft(model, tmp_path / str(number), {"lora_alpha": value})
        if value is None:
            check(folder, path, low_rank(model, 1.0))
            continue
        with pytest.raises(WeightsError, match="got the alpha"):
            load_dit(folder, loras=[Lora(path)])


def test_changes_of_one_layer_add_up(model, folder, tmp_path):
    """A pair beside a dense change, a bias twice, two spellings, two adapters."""
    layer, other = LAYERS[0], LAYERS[1]
    (down, up), (down2, up2) = pair(model, layer), pair(model, layer, seed=50)
    dense, bias, up_bias = (
        random(*shape_of(model, layer)) / 9,
        random(48) / 9,
        random(48, seed=3) / 9,
    )
    tensors = {
        f"diffusion_model.{layer}.lora_A.weight": down,
        f"diffusion_model.{layer}.lora_B.weight": up,
        f"diffusion_model.{layer}.lora_B.bias": up_bias,
        f"diffusion_model.{layer}.alpha": torch.tensor(2.0),
        f"diffusion_model.{layer}.diff": dense,
        f"diffusion_model.{layer}.diff_b": bias,
        f"transformer.{theirs(layer)}.lora_down.weight": down2,
        f"transformer.{theirs(layer)}.lora_up.weight": up2,
    }
    one, two = pair(model, other), pair(model, other, seed=80)
    for name, (a, b) in {"one": one, "two": two}.items():
        tensors |= {f"{other}.lora_A.{name}.weight": a, f"{other}.lora_B.{name}.weight": b}
    expected = {
        f"{layer}.weight": up.double() @ down.double() / 2 + dense + up2.double() @ down2.double(),
        f"{layer}.bias": up_bias / 2 + bias,
        f"{other}.weight": sum(b.double() @ a.double() for a, b in (one, two)),
    }
    for number in range(3):  # the order of the keys does not matter
        keys = sorted(tensors, key=lambda key: hash((key, number)))
        torch.save({key: tensors[key] for key in keys}, tmp_path / f"{number}.pt")
        check(folder, tmp_path / f"{number}.pt", expected, strength=0.5)


def kron(first, second):
    rows, columns = first.shape[0] * second.shape[0], first.shape[1] * second.shape[1]
    return torch.einsum("ab,cd->acbd", first, second).reshape(rows, columns)


def lokr(outputs, inputs):
    """(tensors, change) of LoKr with each matrix whole or in factors."""
    o2, i2, rank = outputs // 4, inputs // 4, 2
    w1, w2 = random(4, 4) / 3, random(o2, i2) / 3
    a1, b1, a2, b2 = random(4, rank), random(rank, 4), random(o2, rank), random(rank, i2)
    yield "whole", {"lokr_w1": w1, "lokr_w2": w2, "alpha": torch.tensor(7.0)}, kron(w1, w2)
    half = kron(w1, a2 @ b2) * (3.0 / rank) / 3
    yield "second in factors", {
        "lokr_w1": w1 / 3, "lokr_w2_a": a2, "lokr_w2_b": b2, "alpha": torch.tensor(3.0),
    }, half  # fmt: skip
    yield (
        "first in factors",
        {"lokr_w1_a": a1 / 9, "lokr_w1_b": b1, "lokr_w2": w2},
        kron(a1 @ b1, w2) / 9,
    )
    yield "both in factors", {
        "lokr_w1_a": a1 / 9, "lokr_w1_b": b1, "lokr_w2_a": a2, "lokr_w2_b": b2 / 3,
        "alpha": torch.tensor(1.0),
    }, kron(a1 @ b1, a2 @ b2) / 27 / rank  # fmt: skip


def loha(outputs, inputs):
    for rank in (2, 17):  # 17 squared is more than a path takes
        a1, b1 = random(outputs, rank), random(rank, inputs)
        a2, b2 = random(outputs, rank, seed=4), random(rank, inputs, seed=5)
        tensors = {"hada_w1_a": a1 / 9, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2}
        alpha = torch.tensor(1.5)
        yield f"rank {rank}", tensors | {"alpha": alpha}, (a1 @ b1) * (a2 @ b2) / 9 * 1.5 / rank


def dora(outputs, inputs, weight):
    down, up = random(3, inputs) / 5, random(outputs, 3) / 5
    merged = weight.double() + up.double() @ down.double() * 0.5
    by_output, by_input = merged.norm(dim=1, keepdim=True), merged.norm(dim=0, keepdim=True)
    rows, columns = random(outputs, 1).abs() + 1, random(1, inputs).abs() + 1
    pairs = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(1.5)}
    peft = {"lora_A.weight": down, "lora_B.weight": up, "alpha": torch.tensor(1.5)}
    outputs_scaled = merged * rows / by_output - weight
    yield "LyCORIS, outputs", pairs | {"dora_scale": rows}, outputs_scaled
    yield "LyCORIS, inputs", pairs | {"dora_scale": columns}, merged * columns / by_input - weight
    for end in ("", ".weight", ".default.weight"):
        mine = {
            k.replace(".weight", end.replace(".weight", "") + ".weight"): v for k, v in peft.items()
        }
        vector = {f"lora_magnitude_vector{end}": rows.flatten()}
        yield f"PEFT{end}", mine | vector, outputs_scaled


def cases(model, layer):
    outputs, inputs = shape_of(model, layer)
    weight = model.state_dict()[f"{layer}.weight"]
    for kind, made in (
        ("lokr", lokr(outputs, inputs)), ("loha", loha(outputs, inputs)),
        ("dora", dora(outputs, inputs, weight)),
    ):  # fmt: skip
        yield from ((f"{kind} {name}", tensors, change) for name, tensors, change in made)


@pytest.mark.parametrize("layer", [*LAYERS, "blocks.0.ffn.0"])  # square, wide and tall
def test_every_kind_is_applied(model, folder, tmp_path, layer):
    for name, tensors, change in cases(model, layer):
        path = tmp_path / f"{name}.safetensors"
        save_file({f"lycoris_{layer.replace('.', '_')}.{k}": v for k, v in tensors.items()}, path)
        for strength in (1.0, -0.3):
            check(folder, path, {f"{layer}.weight": change}, strength=strength, atol=3e-5)
        moved = (change.double() * torch.ones(1)).abs().max()
        assert moved > 0.01, name


def test_kinds_of_a_convolution(model, folder, tmp_path):
    outputs, inputs, *kernel = shape_of(model, CONV)
    weight, rank = model.state_dict()[f"{CONV}.weight"].double(), 2
    small, volume = random(rank, rank, *kernel), inputs * kernel[0] * kernel[1] * kernel[2]
    down, up = random(rank, inputs, *kernel) / 3, random(outputs, rank, 1, 1, 1) / 3
    flat = (up.flatten(1).double() @ down.flatten(1).double()).reshape(weight.shape)
    a, b = random(rank, outputs), random(rank, inputs)
    mid_down, mid_up = random(rank, inputs, 1, 1, 1), random(outputs, rank, 1, 1, 1)
    tucker = torch.einsum("ijtyx,ip,jr->prtyx", small, a, b)
    w1, wide = random(4, 2), random(outputs // 4, volume // 2)
    norms = random(1, outputs, 1, 1, 1).abs() + 1
    merged = weight + flat
    scaled = (
        merged
        * norms.reshape(-1, 1, 1, 1, 1)
        / merged.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1, 1)
    )
    kinds = {
        "pair": ({"lora_down.weight": down, "lora_up.weight": up}, flat),
        "with a kernel between": (
            {"lora_down.weight": mid_down, "lora_up.weight": mid_up, "lora_mid.weight": small / 9},
            torch.einsum("or,rstyx,si->oityx", mid_up.flatten(1), small / 9, mid_down.flatten(1)),
        ),
        "loha tucker": (
            {"hada_w1_a": a, "hada_w1_b": b, "hada_t1": small / 9, "hada_w2_a": a.clone(),
             "hada_w2_b": b.clone(), "hada_t2": small / 9}, tucker**2 / 81,
        ),
        "lokr flat": (
            {"lokr_w1": w1 / 9, "lokr_w2": wide}, kron(w1 / 9, wide).reshape(weight.shape),
        ),
        "dora": ({"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector": norms},
                 scaled - weight),
    }  # fmt: skip
    for name, (tensors, change) in kinds.items():
        save_file(
            {f"diffusion_model.{CONV}.{k}": v for k, v in tensors.items()},
            tmp_path / f"{name}.safetensors",
        )
        check(folder, tmp_path / f"{name}.safetensors", {f"{CONV}.weight": change}, atol=3e-5)


def test_parameters_stored_in_full_replace_theirs(model, folder, tmp_path):
    """PEFT's `modules_to_save` and trained biases, LyCORIS' norms, ComfyUI's `set_weight`."""
    state = model.state_dict()
    names = {
        "base_model.model.proj_out.weight": "head.head.weight",
        "base_model.model.proj_out.modules_to_save.default.bias": "head.head.bias",
        "base_model.model.blocks.0.attn1.to_q.bias": "blocks.0.self_attn.q.bias",
        "diffusion_model.blocks.0.norm3.set_weight": "blocks.0.norm3.weight",
    }
    values = {key: random(*state[name].shape) for key, name in names.items()}
    down, up = pair(model, LAYERS[1])
    tensors = values | {f"{LAYERS[1]}.lora_A.weight": down, f"{LAYERS[1]}.lora_B.weight": up}
    tensors["lycoris_blocks_1_norm3.w_norm"] = random(48)
    tensors["lycoris_blocks_1_norm3.b_norm"] = random(48, seed=1)
    save_file(tensors, tmp_path / "a.safetensors")
    expected = {name: values[key].double() - state[name].double() for key, name in names.items()}
    expected[f"{LAYERS[1]}.weight"] = up.double() @ down.double()
    expected["blocks.1.norm3.weight"], expected["blocks.1.norm3.bias"] = (
        random(48),
        random(48, seed=1),
    )
    check(folder, tmp_path / "a.safetensors", expected, strength=0.5)


LACKING = {
    "image branch": {
        "blocks.0.cross_attn.k_img.lora_A.weight": (4, 48),
        "blocks.0.cross_attn.k_img.lora_B.weight": (48, 4),
        "blocks.0.cross_attn.v_img.lora_A.weight": (4, 48),
        "blocks.0.cross_attn.v_img.lora_B.weight": (48, 4),
        "blocks.0.cross_attn.norm_k_img.diff": (48,),
        "img_emb.proj.1.lora_A.weight": (4, 1280),
        "img_emb.proj.1.lora_B.weight": (1280, 4),
        "img_emb.proj.0.diff_b": (1280,),
    },
    "VACE": {"vace_blocks.0.self_attn.q.lora_A.weight": (4, 48),
             "vace_blocks.0.self_attn.q.lora_B.weight": (48, 4),
             "vace_patch_embedding.diff": (48, 96, 1, 2, 2)},
    "patch embedding of another width": {"patch_embedding.diff": (48, 36, 1, 2, 2)},
    "text encoder": {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 8),
                     "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (8, 4),
                     "text_encoder.block.0.q.lora_A.weight": (4, 8)},
    "ControlNet": {"controlnet.blocks.0.self_attn.q.lora_A.weight": (4, 48),
                   "controlnet.blocks.0.self_attn.q.lora_B.weight": (48, 4)},
}  # fmt: skip


@pytest.mark.parametrize("layout", ["official", "diffusers", "underscores"])
@pytest.mark.parametrize("part", LACKING)
def test_parts_that_the_model_lacks_are_left_out_with_one_warning(
    model, folder, tmp_path, caplog, part, layout
):
    def name(key):
        layer, role = next((key.removesuffix(e), e) for e in
                           (".lora_A.weight", ".lora_B.weight", ".diff", ".diff_b",
                            ".lora_down.weight", ".lora_up.weight") if key.endswith(e))  # fmt: skip
        if layout == "official" or part in ("text encoder", "ControlNet"):
            return key
        layer = theirs(layer)
        return layer.replace(".", "_") + role if layout == "underscores" else layer + role

    tensors = spelt(model, lambda n: n) | {
        name(k): torch.ones(*s) for k, s in LACKING[part].items()
    }
    save_file(tensors, tmp_path / f"{layout}.safetensors")
    check(folder, tmp_path / f"{layout}.safetensors", low_rank(model))
    warnings = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(warnings) == 1
    assert part in warnings[0]
    layers = {name(k).rpartition(".lora")[0] or name(k).rpartition(".")[0] for k in LACKING[part]}
    assert f"{len(layers)} keys are left out" in warnings[0]
    with pytest.raises(WeightsError, match=r"model.strict is true") as error:
        load_dit(folder, loras=[Lora(tmp_path / f"{layout}.safetensors")], strict=True)
    assert "\n" not in str(error.value)
    only = {name(k): torch.ones(*s) for k, s in LACKING[part].items()}
    save_file(only, tmp_path / "only.safetensors")
    with pytest.raises(
        WeightsError, match=r"all of its .* layers are of .*which this transformer lacks"
    ):
        load_dit(folder, loras=[Lora(tmp_path / "only.safetensors")])


def of(key, *shape):
    return {f"diffusion_model.blocks.0.self_attn.q.{key}": torch.ones(*shape)}


REFUSED = {
    "OFT": (of("oft_blocks", 4, 4), "OFT, which is not applied here"),
    "BOFT": (of("boft_R", 4, 4), "BOFT, which is not applied"),
    "IA3": (of("ia3_l", 48, 1), "IA3, which is not applied"),
    "IA3 of LyCORIS": (of("weight", 48) | of("on_input", 1), "IA3, which is not applied"),
    "GLoRA": (of("a1.weight", 4, 48) | of("b1.weight", 4, 48), "GLoRA, which is not applied"),
    "VeRA": (of("vera_lambda_b", 48), "VeRA, which is not applied"),
    "AdaLoRA": (of("lora_A", 4, 48) | of("lora_B", 48, 4) | of("lora_E", 4, 1), "AdaLoRA"),
    "widened": (of("reshape_weight", 2), "a LoRA that widens layers"),
    "something new": (of("zora_q", 4, 4), "(unknown kind)"),
    "half": (of("lora_A.weight", 4, 48), "one of its two matrices is missing"),
    "two halves": (of("lora_A.weight", 4, 48) | of("lora_up.weight", 48, 4), "matrices is missing"),
    "half a LoKr": (of("lokr_w1", 4, 4) | of("lokr_w2_a", 12, 4), "matrices is missing"),
    "three of LoHa": (of("hada_w1_a", 48, 4) | of("hada_w1_b", 4, 48), "four matrices is missing"),
    "ranks": (of("lora_A.weight", 4, 48) | of("lora_B.weight", 48, 3), "ranks 4 and 3"),
    "ranks of LoHa": (of("hada_w1_a", 48, 4) | of("hada_w1_b", 3, 48) | of("hada_w2_a", 48, 4)
                      | of("hada_w2_b", 4, 48), "ranks 4 and 3"),
    "size of LoKr": (of("lokr_w1", 4, 4) | of("lokr_w2", 12, 11), "changes 48x44 instead of 48x48"),
    "norms": (of("lora_A.weight", 4, 48) | of("lora_B.weight", 48, 4) | of("dora_scale", 47, 1),
              "47 norms for a matrix"),
    "norms alone": (of("dora_scale", 48, 1), "norms of DoRA without matrices"),
    "a stray alpha": (of("alpha", 1), "an alpha without matrices"),
    "rank nothing": (of("lora_A.weight", 0, 48) | of("lora_B.weight", 48, 0), "need a matrix"),
    "vectors": (of("lora_A.weight", 48) | of("lora_B.weight", 48), "need a matrix"),
    "whole numbers": ({k: v.to(torch.int8) for k, v in (of("lora_A.weight", 4, 48)
                       | of("lora_B.weight", 48, 4)).items()}, "need floating point"),
    "Flux": ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(4, 9)},
             "it seems to be for Flux"),
    "Stable Diffusion": ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight":
                          torch.ones(4, 9)}, "it seems to be for Stable Diffusion"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_applied_is_named(model, folder, tmp_path, kind):
    tensors, named = REFUSED[kind]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError) as error:
        load_dit(folder, loras=[Lora(tmp_path / "a.safetensors")])
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    # beside good layers it is refused as well: no key is lost
    good = {k.replace("blocks.0.self_attn.q", "blocks.1.self_attn.k"): v for k, v in
            (of("lora_A.weight", 4, 48) | of("lora_B.weight", 48, 4)).items()}  # fmt: skip
    save_file(tensors | good, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError):
        load_dit(folder, loras=[Lora(tmp_path / "b.safetensors")])


def test_a_whole_model_and_files_of_other_kinds_are_named(model, folder, tmp_path):
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "whole.safetensors")
    with pytest.raises(WeightsError, match=r"is a whole model and no LoRA; name it under model\.w"):
        load_dit(folder, loras=[Lora(tmp_path / "whole.safetensors")])
    for name, content, text in (
        (
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\nsize 306807976\n",
            "git-LFS",
        ),
        ("page.safetensors", b"<!DOCTYPE html><html>", "web page"),
        ("model.gguf", b"GGUF\3\0\0\0", "GGUF"),
        ("text.safetensors", b"Invalid username or password.", "is a text"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=rf"LoRA .*{text}"):
            load_dit(folder, loras=[Lora(tmp_path / name)])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["lora_A.weight", "lora_B.weight", "alpha", "dora_scale", "diff_b"])
def test_values_that_are_not_finite(model, folder, tmp_path, key, value):
    tensors = of("lora_A.weight", 4, 48) | of("lora_B.weight", 48, 4) | of("alpha", 1)
    tensors |= of("dora_scale", 48, 1) | of("diff_b", 48)
    next(v for k, v in tensors.items() if k.endswith(key)).view(-1)[-1] = value
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=rf"q\.{key} holds NaN or infinity"):
        load_dit(folder, loras=[Lora(tmp_path / "a.safetensors")])


def test_factors_whose_product_is_not_finite(model, folder, tmp_path):
    tensors = {
        k: v * 1e30 for k, v in (of("lora_A.weight", 4, 48) | of("lora_B.weight", 48, 4)).items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"self_attn\.q\.weight leaves the range of fp32"):
        load_dit(folder, loras=[Lora(tmp_path / "a.safetensors")])


@pytest.mark.parametrize("names", [
    ("high_noise_model", "low_noise_model"), ("transformer", "transformer_2"),
    ("dit_high", "dit_low"),
])  # fmt: skip
def test_files_for_two_experts(model, folder, tmp_path, names):
    layer = LAYERS[0]
    pairs = {name: pair(model, layer, seed=9 * i) for i, name in enumerate(names)}
    tensors = {}
    for name, (down, up) in pairs.items():
        tensors |= {f"{name}.{layer}.lora_A.weight": down, f"{name}.{layer}.lora_B.weight": up}
    save_file(tensors, tmp_path / "a.safetensors")
    before = model.state_dict()[f"{layer}.weight"]
    for expert, name in zip(("high", "low"), names, strict=True):
        got = load_dit(folder, loras=[Lora(tmp_path / "a.safetensors")], expert=expert).state_dict()
        down, up = pairs[name]
        torch.testing.assert_close(got[f"{layer}.weight"], before + up @ down, rtol=0, atol=1e-5)


def test_8_bit_weights_take_every_kind(model, folder, tmp_path):
    """DoRA, dense changes and wide LoHas are merged before the rounding, the rest runs beside."""
    state = model.state_dict()
    names = [
        n for n in state if n.startswith("blocks.") and n.endswith("weight") and state[n].ndim == 2
    ]
    layer = "blocks.0.self_attn.q"
    assert f"{layer}.weight" in names
    x = random(7, 48)
    for name, tensors, change in [
        *cases(model, layer), ("dense", {"diff": random(48, 48) / 9}, random(48, 48) / 9),
    ]:  # fmt: skip
        path = tmp_path / f"{name}.safetensors"
        save_file({f"model.{layer}.{k}": v for k, v in tensors.items()}, path)
        shapes = {n: tuple(t.shape) for n, t in state.items()}
        loras = Loras([Lora(path)], shapes)
        loaded = load_dit(folder, loras=loras, quantize_to="int8")
        loras.attach(loaded)
        got = loaded.get_submodule(layer)(x)
        exact = x @ (state[f"{layer}.weight"] + change.float()).T + state[f"{layer}.bias"]
        plain = x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]
        assert (got - exact).norm() < 0.05 * (plain - exact).norm() + 0.02 * exact.norm(), name
