"""Makes the task mixture of a run from its networks and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from wanctl.checkpoint.find import Components
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape
from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.encoders import TrainingEncoders
from wanctl.train.dit.tasks.mixture import TaskMixture
from wanctl.train.dit.tasks.store import ConditionStore
from wanctl.train.inputs.windows import Footage


@dataclass(frozen=True)
class MixtureOptions:
    """Settings of a task mixture.

    Attributes:
        tasks: task -> weight.
        fps: frame rate of the windows.
        draws_per_window: see `TaskMixture`.
        dropout: see `TaskMixture`.
    """

    tasks: Mapping[TrainingTask, float]
    fps: float
    draws_per_window: int
    dropout: float


def make_mixture(
    options: MixtureOptions,
    footage: Footage,
    vae: WanVAE,
    vae_key: str,
    dit: DiTShape,
    image: Components | None,
    device: torch.device,
    folder: Path | None,
) -> TaskMixture:
    """The mixture, whose conditions are encoded by `TaskMixture.encode` or when they are read.

    Args:
        options: tasks and draws.
        footage: source of windows.
        vae: the frozen VAE.
        vae_key: names it, `NAME@HASH`.
        dit: sizes of the transformer.
        image: CLIP's vision tower, for transformers with an image branch.
        device: where the VAE and CLIP run.
        folder: `DATASET/conditions`; None: nothing is cached.
    """
    encoders = TrainingEncoders(vae, vae_key, dit, image if dit.image_dim else None, device)
    store = ConditionStore(footage, encoders, options.fps, folder)
    return TaskMixture(
        options.tasks,
        store,
        text_len=dit.text_len,
        draws_per_window=options.draws_per_window,
        dropout=options.dropout,
    )
