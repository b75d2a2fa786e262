"""A training step of the VAE against the same step on diffusers 0.42's modules: time and memory.

A step is forward, the loss without its perceptual term, backward and AdamW in fp32, on 5x64x64
pixels. Both programs start from the same weights and see the same noise. Run it alone:
`python tests/bench/vae_training.py`. Bars: at least 3x as fast at width 16 and 1.2x at width 96,
which is the published one; memory not above diffusers' at either.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wanctl.checkpoint.key_tables import to_diffusers, vae_key_table
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape

sys.path.insert(0, str(Path(__file__).parent))
from harness import compare, machine, peak_rss

WIDTHS = (16, 96)
CLIP = (1, 3, 5, 64, 64)
L1, KL = 3.0, 3e-6

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(video, noise of the posterior) -> reconstruction, mean, log-variance."""


class TrainedVAE(NamedTuple):
    """A VAE of either program, with its optimizer."""

    module: nn.Module
    forward: Forward
    optimizer: torch.optim.Optimizer

    def step(self, video: Tensor, noise: Tensor) -> float:
        """Do one step; the loss before it."""
        reconstruction, mean, logvar = self.forward(video, noise)
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
        loss = L1 * (reconstruction - video).abs().mean() + KL * divergence.sum(1).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def ours(shape: VAEShape, *, checkpointing: bool = False) -> TrainedVAE:
    """The VAE as `wanctl train-vae` runs it."""
    vae = WanVAE(shape).train()
    vae.checkpointing = checkpointing

    def forward(video: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = vae.moments(video)
        logvar = logvar.clamp(-30, 20)
        sample = mean + torch.exp(0.5 * logvar) * noise
        return vae.decode(vae.normalise(sample), clamp=False), mean, logvar

    return with_optimizer(vae, forward)


def diffusers(shape: VAEShape) -> TrainedVAE:
    """AutoencoderKLWan; it works in chunks of one latent frame and clamps what it decodes."""
    from diffusers import AutoencoderKLWan

    vae = AutoencoderKLWan(base_dim=shape.dim).train()

    def forward(video: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (posterior,) = vae.encode(video, return_dict=False)
        (decoded,) = vae.decode(posterior.mean + posterior.std * noise, return_dict=False)
        return decoded, posterior.mean, posterior.logvar

    return with_optimizer(vae, forward)


def with_optimizer(vae: nn.Module, forward: Forward) -> TrainedVAE:
    """AdamW as a single kernel for each parameter, as `wanctl` has it."""
    return TrainedVAE(vae, forward, torch.optim.AdamW(vae.parameters(), lr=1e-5, fused=True))


ARMS = {"ours": ours, "diffusers": diffusers}


def pair(shape: VAEShape) -> dict[str, TrainedVAE]:
    """Both programs with the same weights."""
    arms = {"ours": ours(shape), "diffusers": diffusers(shape)}
    weights = arms["ours"].module.state_dict()
    names = to_diffusers(weights, vae_key_table(shape))
    arms["diffusers"].module.load_state_dict({names[key]: t for key, t in weights.items()})
    return arms


def inputs(clip: tuple[int, ...] = CLIP) -> tuple[Tensor, Tensor]:
    """A clip in [-1, 1] and the noise of its posterior."""
    batch, _, frames, height, width = clip
    latents = (batch, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    return torch.rand(clip) * 2 - 1, torch.randn(latents)


def saved_mb(arm: TrainedVAE, data: tuple[Tensor, Tensor]) -> int:
    """What the graph of a forward pass holds for the backward pass besides the weights."""
    sizes: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        results = arm.forward(*data)
    weights = {p.untyped_storage().data_ptr() for p in arm.module.parameters()}
    del results
    return round(sum(size for at, size in sizes.items() if at not in weights) / 1e6)


def build(arm: str, width: str) -> TrainedVAE:
    """A process with libraries and weights: the part of a peak that no step causes."""
    torch.manual_seed(0)
    return ARMS[arm](VAEShape(dim=int(width)))


def two_steps(arm: str, width: str) -> None:
    """The second step has the optimizer's state beside the activations."""
    trained = build(arm, width)
    for _ in range(2):
        trained.step(*inputs())


def run(repeats: int = 5) -> dict[str, float]:
    """All figures of this module; `_net_mb` is peak RSS above that of a process that only built."""
    torch.manual_seed(0)
    figures: dict[str, float] = {}
    for width in WIDTHS:
        figures |= speed(f"width_{width}", VAEShape(dim=width), repeats)
        figures |= memory(f"width_{width}", str(width))
    return figures


def speed(name: str, shape: VAEShape, repeats: int) -> dict[str, float]:
    """Seconds of a step of each program, and what it keeps for the backward pass."""
    arms, data = pair(shape), inputs()
    figures = compare(name, {arm: partial(own.step, *data) for arm, own in arms.items()}, repeats)
    return figures | {f"{name}.{arm}_saved_mb": saved_mb(own, data) for arm, own in arms.items()}


def memory(name: str, width: str) -> dict[str, float]:
    """Peak memory that two steps add to a process, and ours as a share of diffusers'."""
    added = {}
    for arm in ARMS:
        base = peak_rss("vae_training", "build", arm, width)
        added[arm] = peak_rss("vae_training", "two_steps", arm, width) - base
    figures = {f"{name}.{arm}_net_mb": round(peak / 1e6) for arm, peak in added.items()}
    return {**figures, f"{name}.memory": round(added["ours"] / added["diffusers"], 3)}


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), **run()}, indent=2))
