from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.train.dit.test_dit_objective import (
    DIT_SHAPE,
    PROCESSES,
    VAE_SHAPE,
    LetterEncoder,
    noise_options,
)
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.recipe.train.vace_training import VaceTrainingSection
from wanctl.train.dit.data import EncodedData
from wanctl.train.dit.objective import DiTObjective
from wanctl.train.dit.options import DiTOptions, PreviewOptions
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.build import MixtureOptions, make_mixture
from wanctl.train.dit.tasks.choice import make_tasks
from wanctl.train.dit.vace.options import control_options
from wanctl.train.inputs.encode import LatentStore, TextStore
from wanctl.train.inputs.windows import Shape

FPS = 8.0
CHANNELS_DIT = replace(DIT_SHAPE, in_channels=12)
OPTIONS = TaskOptions(
    continuation_s=(0.1, 0.6),
    interpolation_frames=3,
    vace=control_options(VaceTrainingSection().model_dump()),
)


@pytest.fixture
def footage(memory_footage):
    """Clips with noise in them, so that no two frames are equal."""
    clips = memory_footage(shape=Shape(9, 32, 32), held_out=True, batch_size=3)
    generator = np.random.default_rng(0)
    clips.clips += generator.integers(0, 20, clips.clips.shape, dtype=np.uint8)
    return clips


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return WanVAE(VAE_SHAPE).eval()


@pytest.fixture
def make_tasks_of(vae, tmp_path):
    """Task mixture of a footage; with `cached=False` it encodes whatever is read."""

    def build(clips, weights, dit=CHANNELS_DIT, *, cached=True, dropout=0.0, image=None):
        options = MixtureOptions(make_tasks(weights, OPTIONS), FPS, 3, dropout)
        folder = tmp_path / "conditions" if cached else None
        mixture = make_mixture(
            options, clips, vae, "toy@1", dit, image, torch.device("cpu"), folder
        )
        mixture.encode(clips, PROCESSES)
        return mixture

    return build


@pytest.fixture
def make_objective(footage, vae, make_tasks_of, tmp_path):
    def build(weights, dit=CHANNELS_DIT, known_frames_weight=1.0, **settings):
        torch.manual_seed(1)
        latents = LatentStore(tmp_path / "latents", vae, "toy")
        windows = [*footage.training_windows(), *footage.eval_windows()]
        latents.encode(footage, windows, PROCESSES)
        texts = TextStore(tmp_path / "text", LetterEncoder())
        texts.encode(["", "a prompt", "worse"], PROCESSES)
        preview = PreviewOptions(
            prompts=("a prompt",), windows=tuple(footage.eval_windows()), negative_prompt="worse",
            latent_shape=(4, 3, 4, 4), steps=2, shift=3.0, guide_scale=2.0, solver="euler", fps=FPS,
        )  # fmt: skip
        captions = {str(clip): ["a prompt"] for clip in range(3)}
        return DiTObjective(
            WanModel(dit),
            vae,
            footage,
            EncodedData(latents.get, texts.get, captions),
            make_tasks_of(footage, weights, dit, **settings),
            DiTOptions(noise_options(), 0.1, "", known_frames_weight, preview, 0, False),
            metadata={},
        )

    return build
