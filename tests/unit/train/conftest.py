import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from wanctl.recipe.training import OptimizerSection, TrainSection, VAELossSection
from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.loop import LoopOptions
from wanctl.train.objective import Losses, Network
from wanctl.train.optim import OptimizerOptions
from wanctl.train.rng import MicrobatchIndex, keyed_generator
from wanctl.train.vae.loss_options import vae_loss_options


@pytest.fixture
def optimizer_options():
    """AdamW's settings with the recipe's defaults, but without warm-up, and some changes."""

    def build(**changes):
        return OptimizerOptions(**{**OptimizerSection(warmup_steps=0).model_dump(), **changes})

    return build


@pytest.fixture
def loop_options(optimizer_options):
    """Settings of the loop with the recipe's defaults, without trackers, and some changes."""

    def build(**changes):
        section = TrainSection(trackers=())
        names = LoopOptions.__dataclass_fields__.keys() - {"seed", "optimizer"}
        defaults = {name: getattr(section, name) for name in names}
        defaults |= {"seed": 0, "optimizer": optimizer_options()}
        return LoopOptions(**{**defaults, **changes})

    return build


@pytest.fixture
def loss_weights():
    """Options of the VAE's loss with the recipe's defaults and some changes."""

    def build(**changes):
        return vae_loss_options(VAELossSection(**changes).model_dump())

    return build


class ToyObjective:
    """A model of 40 weights whose noise is keyed like that of the real objectives."""

    name = "train-toy"
    eval_split = "held-out"

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

    def evaluate(self, device):
        x = torch.linspace(-1, 1, 32, device=device).reshape(8, 4)
        return {"mse": (self.module(x) - x[:, :2] * 2 + 1).pow(2).mean().item()}

    def preview(self, folder: Path, step, device):
        (folder / f"step-{step:06d}.txt").write_text("seen")
        return []

    def save(self, folder: Path, step, device):
        torch.save(self.module.state_dict(), folder / "model.pt")
        (folder / "saved.json").write_text(json.dumps(step))

    def saved_step(self, folder: Path):
        path = folder / "saved.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def toy():
    return ToyObjective


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
