import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from wanctl.recipe.train.optimizer import OptimizerSection
from wanctl.recipe.train.section import TrainSection
from wanctl.recipe.train.vae_losses import VAELossSection
from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.objective import Losses, Network, Preview
from wanctl.train.optimizers.options import read_optimizer_options
from wanctl.train.options import LoopOptions
from wanctl.train.rng import MicrobatchIndex, keyed_generator
from wanctl.train.vae.loss_options import vae_loss_options


def make_optimizer_options(**changes):
    """AdamW's settings with the recipe's defaults, but without warm-up, and some changes."""
    return read_optimizer_options(OptimizerSection(**{"warmup_steps": 0, **changes}).model_dump())


def make_loop_options(**changes):
    """Settings of the loop with the recipe's defaults, without trackers, and some changes."""
    section = TrainSection(trackers=())
    names = LoopOptions.__dataclass_fields__.keys() - {"seed", "optimizer"}
    defaults = {name: getattr(section, name) for name in names}
    defaults |= {"seed": 0, "optimizer": make_optimizer_options()}
    return LoopOptions(**{**defaults, **changes})


def metric_lines(folder):
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def lines():
    return metric_lines


@pytest.fixture
def toy_options(loop_options, optimizer_options):
    """Settings of twelve steps of a toy, and some changes."""
    usual = {
        "steps": 12,
        "optimizer": optimizer_options(lr=0.02, warmup_steps=3, decay="cosine"),
        "ema_decay": 0.9,
        "log_every": 2,
        "eval_every": 4,
        "preview_every": 6,
        "checkpoint_every": 4,
    }
    return lambda **changes: loop_options(**{**usual, **changes})


@pytest.fixture
def optimizer_options():
    return make_optimizer_options


@pytest.fixture
def loop_options():
    return make_loop_options


def make_loss_options(**changes):
    """Options of the VAE's loss with the recipe's defaults and some changes."""
    return vae_loss_options(VAELossSection(**changes).model_dump())


@pytest.fixture
def loss_weights():
    return make_loss_options


class ToyObjective:
    """A model of 40 weights whose noise is keyed like that of the real objectives."""

    name = "train-toy"
    saves_with_checkpoints = False
    eval_split = "held-out"
    judged = "mse"

    def __init__(self, batch_size=4, poison=(), stop_at=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
        self.batch_size = batch_size
        self.poison = poison
        self.stop_at = stop_at
        self.trained_steps = []

    def batch(self, microbatch: MicrobatchIndex) -> torch.Tensor:
        generator = keyed_generator(microbatch.seed, "toy", microbatch.step)
        everything = torch.randn(4, 4, generator=generator)
        return everything.split(self.batch_size)[microbatch.micro]

    @property
    def networks(self):
        return {"model": Network(self.module)}

    def turns(self, step):
        return ("model",)

    def losses(self, turn, models, batch, microbatch, device):
        yield self.loss(models[turn], batch, microbatch, device)

    def loss(self, model, batch, microbatch, device) -> Losses:
        self.trained_steps.append(microbatch.step)
        if microbatch.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        target = batch.to(device)[:, :2] * 2 - 1
        error = (model(batch.to(device)) - target).pow(2).mean(1)
        if microbatch.step in self.poison:
            error = error * float("nan")
        return Losses(error, {"largest": error.detach().max()})

    def eval_items(self):
        return [-1, 0.5, 2]

    def measure(self, item, device):
        x = torch.linspace(-1, item, 32, device=device).reshape(8, 4)
        return {"mse": (self.module(x) - x[:, :2] * 2 + 1).pow(2).mean().item()}

    def preview_items(self):
        return [0, 1, 2]

    def preview(self, item, device):
        """A still whose colour is the model's answer."""
        shade = self.module(torch.eye(4, device=device)[item : item + 1])[0, 0]
        level = int(torch.sigmoid(shade).nan_to_num().item() * 255)
        return Preview(np.full((1, 2, 2, 3), level, np.uint8), f"item {item}", 8.0)

    def save(self, folder: Path, step, device):
        torch.save(self.module.state_dict(), folder / "model.pt")
        (folder / "saved.json").write_text(json.dumps(step))

    def saved_step(self, folder: Path):
        path = folder / "saved.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def toy():
    return ToyObjective


@dataclass
class ToyBatch:
    """Samples (B, 4), and what the model made of them in its turn."""

    samples: torch.Tensor
    made: torch.Tensor | None = None


class ToyGAN(ToyObjective):
    """A model and a critic of it, which learns from step `critic_from` on.

    `skips` says which micro-batches leave out the model's second layer, as images leave out layers
    over time.
    """

    def __init__(
        self,
        critic_optimizer,
        critic_from=2,
        chunks=1,
        critic_poison=(),
        skips=lambda microbatch: (microbatch.step + microbatch.micro) % 3 == 0,
        **settings,
    ):
        super().__init__(**settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.module = Generator()
            self.critic = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))
        self.critic_optimizer = critic_optimizer
        self.critic_from = critic_from
        self.chunks = chunks
        self.critic_poison = critic_poison
        self.skips = skips

    @property
    def networks(self):
        critic = Network(self.critic, self.critic_optimizer, averaged=False)
        return {"model": Network(self.module, skips_parameters=True), "critic": critic}

    def turns(self, step):
        return ("model", "critic") if step >= self.critic_from else ("model",)

    def batch(self, microbatch):
        return ToyBatch(super().batch(microbatch))

    def losses(self, turn, models, batch, microbatch, device):
        if turn == "critic":
            yield self.critic_loss(models["critic"], batch, microbatch)
            return
        self.trained_steps.append(microbatch.step)
        if microbatch.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        made = []
        skip = self.skips(microbatch)
        for index, chunk in enumerate(batch.samples.to(device).chunk(self.chunks)):
            fake = models["model"](chunk, skip=skip)
            error = (fake - chunk[:, :2] * 2 + 1).pow(2).mean(1)
            if microbatch.step in self.poison:
                error = error * float("nan")
            critic = models["critic"](fake)[:, 0]
            made.append(fake.detach())
            share = len(chunk) / len(batch.samples)
            parts = {"critic": critic.detach()}
            yield Losses(error - 0.1 * critic, parts, share, last=index == self.chunks - 1)
        batch.made = torch.cat(made)

    def critic_loss(self, critic, batch, microbatch):
        real = critic(batch.samples[:, :2] * 2 - 1)[:, 0]
        fake = critic(batch.made)[:, 0]
        loss = nn.functional.relu(1 - real) + nn.functional.relu(1 + fake)
        if microbatch.step in self.critic_poison:
            loss = loss * float("nan")
        return Losses(loss, {"real": real.detach(), "fake": fake.detach()})


class Generator(nn.Module):
    """(B, 4) -> (B, 2) through two layers, or through the outer ones only."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x, skip=False):
        hidden = torch.tanh(self.first(x))
        return self.last(hidden if skip else torch.tanh(self.second(hidden)))


def make_toy_gan(**settings):
    """A `ToyGAN` whose critic has its own optimizer."""
    optimizer = make_optimizer_options(lr=0.01, betas=(0.5, 0.9), clip_norm=10)
    return ToyGAN(optimizer, **settings)


@pytest.fixture
def toy_gan():
    return make_toy_gan


class MemoryFootage:
    """Three clips of a moving square in memory; the last one is held out on demand."""

    def __init__(self, shape=None, batch_size=2, held_out=False):
        shape = shape or Shape(5, 32, 32)
        self.held_out = held_out
        self.shape = shape
        self.batch_size = batch_size
        self.reads = 0
        clips = 3
        length = shape.frames + 4
        self.clips = np.full((clips, length, shape.height, shape.width, 3), 40, dtype=np.uint8)
        for clip in range(clips):
            for t in range(length):
                self.clips[clip, t, 4 + t : 16 + t, 6 * clip : 12 + 6 * clip, clip] = 230

    def sample_windows(self, microbatch):
        generator = keyed_generator(microbatch.seed, "windows", microbatch.step, microbatch.micro)
        picks = torch.randint(2 if self.held_out else 3, (self.batch_size,), generator=generator)
        return [ClipWindow(str(int(p)), self.shape, 0) for p in picks]

    def largest_windows(self):
        return self.sample_windows(MicrobatchIndex(0, 0, 0))

    def training_windows(self):
        clips = range(2 if self.held_out else 3)
        return [ClipWindow(str(clip), self.shape, start) for clip in clips for start in (0, 4)]

    def eval_windows(self):
        return [ClipWindow("2" if self.held_out else "0", self.shape, 0)]

    def read(self, window):
        self.reads += 1
        return self.clips[int(window.clip), window.start : window.start + window.shape.frames]


@pytest.fixture
def memory_footage():
    return MemoryFootage
