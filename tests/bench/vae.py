"""The VAE against diffusers 0.42 on the same weights: time at two sizes, peak memory at one.

Run it alone: `python tests/bench/vae.py`. Bars: tiny decode at least 3x as fast;
the published size no slower in encode and decode and not above diffusers' peak memory; the decoder
for previews at least 10x as fast as the VAE's.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, shape_for
from wanctl.model.variants import VAEShape

sys.path.insert(0, str(Path(__file__).parent))
from harness import compare, machine, peak_rss

TINY = VAEShape(dim=16)
FULL = VAEShape()
TINY_VIDEO = (1, 3, 17, 64, 64)
FULL_VIDEO = (1, 3, 17, 128, 128)


class Ours:
    """Our VAE; `chunked` as in sampling and caching of the large model."""

    def __init__(self, shape: VAEShape, chunked: bool) -> None:
        self.vae = WanVAE(shape).eval()
        self.chunked = chunked

    def encode(self, video):
        with torch.inference_mode():
            return self.vae.encode(video, chunked=self.chunked)

    def decode(self, latents):
        with torch.inference_mode():
            return self.vae.decode(latents, chunked=self.chunked)


class Diffusers:
    """AutoencoderKLWan; it always works in chunks of one latent frame."""

    def __init__(self, shape: VAEShape) -> None:
        from diffusers import AutoencoderKLWan

        self.vae = AutoencoderKLWan(base_dim=shape.dim).eval()

    def encode(self, video):
        with torch.inference_mode():
            return self.vae.encode(video).latent_dist.mean

    def decode(self, latents):
        with torch.inference_mode():
            return self.vae.decode(latents).sample


def latents_of(video_shape: tuple[int, ...]) -> torch.Tensor:
    batch, _, frames, height, width = video_shape
    return torch.randn(batch, 16, (frames - 1) // 4 + 1, height // 8, width // 8)


def time_tiny(repeats: int) -> dict[str, float]:
    ours, peer = Ours(TINY, chunked=False), Diffusers(TINY)
    video, latents = torch.rand(TINY_VIDEO) * 2 - 1, latents_of(TINY_VIDEO)
    figures = {}
    for job, data in (("encode", video), ("decode", latents)):
        arms = {"ours": call(ours, job, data), "diffusers": call(peer, job, data)}
        figures |= compare(f"tiny.{job}", arms, repeats)
    return figures


def time_full(repeats: int) -> dict[str, float]:
    ours, peer = Ours(FULL, chunked=True), Diffusers(FULL)
    video, latents = torch.rand(FULL_VIDEO) * 2 - 1, latents_of(FULL_VIDEO)
    figures = {}
    for job, data in (("encode", video), ("decode", latents)):
        arms = {"ours": call(ours, job, data), "diffusers": call(peer, job, data)}
        figures |= compare(f"full.{job}", arms, repeats)
    return figures


def time_tiny_decoder(repeats: int) -> dict[str, float]:
    """The published sizes of the decoder for previews against those of the VAE, piece by piece."""
    vae, latents = WanVAE(FULL).eval(), latents_of(FULL_VIDEO)
    small = TinyDecoder(shape_for(FULL)).eval()
    arms = {
        "tiny": partial(decode_frames, small, latents),
        "vae": partial(decode_frames, vae, latents),
    }
    return compare("previews.decode", arms, repeats)


@torch.inference_mode()
def decode_frames(decoder: WanVAE | TinyDecoder, latents: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(decoder.decode_frames(latents)), dim=2)


def call(arm: Ours | Diffusers, job: str, data: torch.Tensor) -> Callable[[], object]:
    return lambda: getattr(arm, job)(data)


def run_once(arm: str, job: str) -> None:
    """One call at the published size, in a process of its own."""
    torch.manual_seed(0)
    model = Ours(FULL, chunked=True) if arm == "ours" else Diffusers(FULL)
    data = torch.rand(FULL_VIDEO) * 2 - 1 if job == "encode" else latents_of(FULL_VIDEO)
    call(model, job, data)()


def import_only(arm: str) -> None:
    """What a process holds before it has a model, to see how much of a peak is libraries."""
    if arm == "diffusers":
        from diffusers import AutoencoderKLWan  # noqa: F401


def memory() -> dict[str, float]:
    """Peak RSS in MB; `_net` is above the same process with the libraries imported only."""
    figures = {}
    for arm in ("ours", "diffusers"):
        base = peak_rss("vae", "import_only", arm)
        for job in ("encode", "decode"):
            peak = peak_rss("vae", "run_once", arm, job)
            figures[f"full.{job}.{arm}_mb"] = round(peak / 1e6)
            figures[f"full.{job}.{arm}_net_mb"] = round((peak - base) / 1e6)
    return figures


def run(repeats: int = 5) -> dict[str, float]:
    """All figures of this module."""
    torch.manual_seed(0)
    times = time_tiny(repeats) | time_full(repeats) | time_tiny_decoder(repeats)
    return times | memory()


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), **run()}, indent=2))
