"""LoRA strengths that change between steps: the same weights as merged ones, loaded once."""

from collections import namedtuple

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.checkpoint.save import save_dit
from wanctl.distributed.context import SingleProcessContext
from wanctl.distributed.layout import Layout
from wanctl.model.variants import DiTShape
from wanctl.runtime.placement import Placement
from wanctl.sample.denoise import expert_loader
from wanctl.sample.denoise.expert_loader import ExpertLoader, factors_of

SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=2, num_heads=2, in_channels=4, out_channels=4, text_dim=40,
    text_len=6, freq_dim=8,
)  # fmt: skip
RANK = 4
Files = namedtuple("Files", "folder, low, style, few_steps, dora")


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lora(seed, **more):
    """Matrices of three layers, of which one is outside the blocks."""
    tensors = {}
    for n, (layer, out, into) in enumerate(
        (("blocks.0.self_attn.q", 48, 48), ("blocks.1.ffn.2", 48, 64), ("head.head", 16, 48))
    ):
        tensors[f"diffusion_model.{layer}.lora_down.weight"] = random(RANK, into, seed=seed + n) / 4
        tensors[f"diffusion_model.{layer}.lora_up.weight"] = random(out, RANK, seed=seed - n) / 4
    return tensors | {f"diffusion_model.{key}": value for key, value in more.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from wanctl.model.dit.transformer import WanModel

    folder = tmp_path_factory.mktemp("loader")
    for name, seed in (("high_noise_model", 1), ("low_noise_model", 2)):
        model = WanModel(SHAPE)
        for number, parameter in enumerate(model.parameters()):
            parameter.data = random(*parameter.shape, seed=100 * seed + number) / 5
        save_dit(model, folder / name)
    dense = {
        "blocks.0.self_attn.q.diff_b": random(48, seed=5) / 3,
        "blocks.1.diff_m": random(1, 6, 48, seed=6) / 3,
        "blocks.1.norm3.diff": random(48, seed=7) / 3,
        "patch_embedding.diff": random(48, 4, 1, 2, 2, seed=8) / 3,
        "blocks.1.cross_attn.v.lokr_w1": random(4, 4, seed=9) / 3,
        "blocks.1.cross_attn.v.lokr_w2": random(12, 12, seed=10) / 3,
    }
    norms = {"blocks.0.self_attn.q.dora_scale": random(48, 1, seed=11).abs() + 1}
    paths = [folder / f"{name}.safetensors" for name in ("style", "few_steps", "dora")]
    for path, tensors in zip(paths, (lora(20), lora(40, **dense), lora(60, **norms)), strict=True):
        save_file(tensors, path)
    return Files(folder / "high_noise_model", folder / "low_noise_model", *paths)


@pytest.fixture
def loads(monkeypatch):
    """The expert of every transformer that is read from its files."""
    read, made = expert_loader.load_dit, []

    def counted(*args, **options):
        made.append(options["expert"])
        return read(*args, **options)

    monkeypatch.setattr(expert_loader, "load_dit", counted)
    return made


def make(files, loras, uses, *, quantize=None, experts=False, fsdp=False):
    dit = find_components(files.folder.parent if experts else files.folder)
    weights = ResolvedWeights(dit, dit, None, "umt5", "0", loras=tuple(loras))
    context = SingleProcessContext(torch.device("cpu"))
    context.layout = Layout(fsdp=fsdp)
    return ExpertLoader(
        weights, Placement("auto", quantize, False, False), "fast", torch.float32, context, uses
    )


@torch.no_grad()
def velocity(model):
    x, text = random(1, 4, 2, 4, 4, seed=1), random(1, 6, 40, seed=2)
    return model(x, torch.tensor([500.0]), text)


def merged(files, loras, factors, folder=None):
    scaled = [Lora(each.path, each.strength * f) for each, f in zip(loras, factors, strict=True)]
    return velocity(load_dit(folder or files.folder, loras=scaled))


def difference(got, expected):
    return ((got - expected).abs().max() / expected.abs().max()).item()


def test_strengths_change_without_loading_and_give_what_merged_weights_give(files, loads):
    loras = [Lora(files.style, 0.8), Lora(files.few_steps, 1.0)]
    steps = [(0.0, 0.0), (1.0, 0.25), (0.0, 1.0), (0.5, -0.5), (0.0, 0.0)]
    loader = make(files, loras, {(None, factors) for factors in steps})
    models = set()
    results = []
    for factors in steps:
        model = loader.get(None, factors)
        models.add(id(model))
        results.append(velocity(model))
        assert difference(results[-1], merged(files, loras, factors)) < 1e-5
    assert loads == [None]
    assert len(models) == 1
    assert torch.equal(results[0], results[-1])  # nothing of the strengths between is left
    assert difference(results[0], velocity(load_dit(files.folder))) < 1e-6
    assert min(difference(results[0], each) for each in results[1:4]) > 0.02


def test_one_number_is_for_all_loras(files):
    loras = [Lora(files.style), Lora(files.few_steps)]
    loader = make(files, loras, {(None, 0.0), (None, 0.5)})
    loader.get(None, 0.0)
    assert difference(velocity(loader.get(None, 0.5)), merged(files, loras, (0.5, 0.5))) < 1e-5


def test_strengths_that_stay_are_merged_as_without_phases(files, loads):
    loras = [Lora(files.style, 0.8), Lora(files.few_steps)]
    for strengths, factors in ((1.0, (1.0, 1.0)), ((0.5, 0.0), (0.5, 0.0))):
        loader = make(files, loras, {(None, strengths)})
        model = loader.get(None, strengths)
        assert loader.get(None, strengths) is model
        assert torch.equal(velocity(model), merged(files, loras, factors))
    assert loads == [None, None]


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_8_bit_weights_change_their_strengths_too(files, loads, kind):
    loras = [Lora(files.few_steps)]
    loader = make(files, loras, {(None, 0.0), (None, 1.0)}, quantize=kind)
    plain = velocity(loader.get(None, 0.0))
    error = difference(velocity(loader.get(None, 1.0)), merged(files, loras, (1.0,)))
    bare = difference(plain, merged(files, loras, (0.0,)))
    assert torch.equal(velocity(loader.get(None, 0.0)), plain)
    assert loads == [None]
    assert error < 2 * bare < 0.2
    fixed = make(files, loras, {(None, 1.0)}, quantize=kind)
    assert difference(velocity(fixed.get(None, 1.0)), velocity(loader.get(None, 1.0))) < 1e-5


def test_what_cannot_run_beside_a_matrix_is_loaded_again(files, loads):
    loras = [Lora(files.dora)]
    loader = make(files, loras, {(None, 0.0), (None, 1.0)})
    for strength in (0.0, 1.0, 1.0, 0.0):
        got = velocity(loader.get(None, strength))
        assert torch.equal(got, merged(files, loras, (strength,)))
    assert loads == [None] * 3


def test_weights_that_fsdp_divides_are_loaded_again(files, loads):
    loras = [Lora(files.style)]
    loader = make(files, loras, {(None, 0.0), (None, 1.0)}, fsdp=True)
    for strength in (0.0, 1.0):
        got = velocity(loader.get(None, strength))
        assert torch.equal(got, merged(files, loras, (strength,)))
    assert loads == [None] * 2


def test_each_expert_has_its_loras_and_loads_once(files, loads):
    loras = [Lora(files.style, expert="high"), Lora(files.few_steps, expert="low")]
    uses = [("high", 0.0), ("high", (1.0, 0.5)), ("low", (1.0, 0.5)), ("low", (0.25, 0.5))]
    loader = make(files, loras, set(uses), experts=True)
    results = [velocity(loader.get(*use)) for use in uses]
    assert loads == ["high", "low"]
    high, low = loras[:1], loras[1:]
    assert difference(results[0], merged(files, high, (0.0,))) < 1e-5
    assert difference(results[1], merged(files, high, (1.0,))) < 1e-5
    # the strength of a LoRA for the other expert changes nothing: merged, and not loaded again
    assert torch.equal(results[2], merged(files, low, (0.5,), files.low))
    assert torch.equal(results[3], results[2])


def test_factors_of_the_other_experts_loras_are_left_out():
    loras = [Lora("a", expert="high"), Lora("b"), Lora("c", expert="low")]
    assert factors_of(loras, (0.5, 0.25, 0.0), "low") == (1.0, 0.25, 0.0)
    assert factors_of(loras, 0.0, "high") == (0.0, 0.0, 1.0)
    assert factors_of([], (0.5,), None) == ()
