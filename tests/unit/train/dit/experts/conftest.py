"""An objective of two tiny experts on latents that are made up; the resume worker uses it too."""

import pytest
import torch

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.runtime.quantize import quantize
from wanctl.train.adapters.attach import AdapterOptions, Target
from wanctl.train.adapters.prepare import WHOLE, Base, prepare_adapter
from wanctl.train.copied import copied_from_file
from wanctl.train.dit.data import EncodedData
from wanctl.train.dit.experts.plan import ExpertOptions, route_experts
from wanctl.train.dit.experts.start import find_experts, start_experts
from wanctl.train.dit.noise.levels import NoiseLevels
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.objective import DiTObjective
from wanctl.train.dit.options import DiTOptions, PreviewOptions
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.build import MixtureOptions, make_mixture
from wanctl.train.dit.tasks.choice import make_tasks
from wanctl.train.rng import keyed_generator

BOUNDARY = 0.875
DIT_SHAPE = DiTShape(
    dim=32, ffn_dim=48, num_layers=1, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=32,
)  # fmt: skip
VAE_SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip


def latents(window):
    """(4, 2, 4, 4), near one colour."""
    generator = keyed_generator("latents", window.key)
    return 1 + 0.2 * torch.randn(4, 2, 4, 4, generator=generator)


def text(caption):
    return torch.randn(3, 6, generator=keyed_generator("text", caption))


def random_expert(name):
    """Weights of its own, none of them zero, so that even the first step changes all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(name))
        model = WanModel(DIT_SHAPE)
        torch.nn.init.normal_(model.head.head.weight, std=0.02)
    return model


def expert_options(**changes):
    settings = {
        "trained": "both", "boundary": BOUNDARY, "share": 0.5, "block_steps": 3, "steps": 24,
        "seed": 0,
    }  # fmt: skip
    return ExpertOptions(**{**settings, **changes})


def noise_levels(microbatches=4, **keys):
    section = TimestepsSection(**keys).model_dump(exclude={"bucket_shifts"})
    return NoiseLevels(NoiseOptions(**section, latent_shifts={}, microbatches=microbatches))


def dora_on_fp8(model, network):
    """An adapter with dropout on a frozen base in 8 bits."""
    target = Target("blocks.*", 3, 6.0)
    options = AdapterOptions("dora", (target,), dropout=0.1, seed=0)
    return prepare_adapter(quantize(model, "fp8"), Base("x", "0"), options, "comfyui", network)


def make_experts(footage, weights=None, prepare=lambda model, network: WHOLE, **changes):
    """Both experts of random weights, or those in a folder."""
    options, levels = expert_options(**changes), noise_levels()
    routing = route_experts(options, levels, [((2, 4, 4), 1.0)])

    def load(components, network):

        model = copied_from_file(load_dit(components)) if components else random_expert(network)
        return model, prepare(model, network)

    transformers = start_experts(
        options, routing, find_experts(weights, None), load, precision="fast", strict=False
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = WanVAE(VAE_SHAPE)
    mixture = make_mixture(
        MixtureOptions(make_tasks({"t2v": 1}, TaskOptions((1, 1), 4, None)), 8.0, 1, 0.0),
        footage, vae, "vae", DIT_SHAPE, None, torch.device("cpu"), None,
    )  # fmt: skip
    preview = PreviewOptions(
        ("a prompt",), tuple(footage.eval_windows()), "", (4, 2, 4, 4), 6, 3.0, (2.0, 3.0),
        "euler", 8.0,
    )  # fmt: skip
    return DiTObjective(
        transformers,
        vae,
        footage,
        EncodedData(latents, text, {str(clip): [f"clip {clip}"] for clip in range(3)}),
        mixture,
        DiTOptions(levels.options, 0.1, "", 1.0, preview, 0, False),
        metadata={"recipe": "x"},
    )


@pytest.fixture
def experts(memory_footage):
    def make(batch_size=2, held_out=True, **settings):
        return make_experts(memory_footage(batch_size=batch_size, held_out=held_out), **settings)

    return make


@pytest.fixture
def stored(tmp_path):
    """A folder with both experts, as a run writes them."""
    folder = tmp_path / "weights"
    for part, name in (("dit", "high"), ("dit_low", "low")):
        save_dit(random_expert(name), folder / part)
    assert find_components(folder).dit_low
    return folder


@pytest.fixture
def options_of_experts():
    return expert_options


@pytest.fixture
def levels():
    return noise_levels
