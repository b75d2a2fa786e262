import json
from pathlib import Path

import pytest
import torch
from torch import nn

from wanctl.train.draws import keyed_generator
from wanctl.train.objective import Draw, Losses


class ToyObjective:
    """A model of forty weights with noise that is keyed like the real objectives' noise."""

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

    def batch(self, draw: Draw) -> torch.Tensor:
        generator = keyed_generator(draw.seed, "toy", draw.step)
        everything = torch.randn(4, 4, generator=generator)
        return everything.split(self.batch_size)[draw.micro]

    def loss(self, model, batch, draw, device) -> Losses:
        self.trained_steps.append(draw.step)
        if draw.step == self.stop_at:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        target = batch.to(device)[:, :2] * 2 - 1
        error = (model(batch.to(device)) - target).pow(2).mean(1)
        if draw.step in self.poison:
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
