"""Latents and embeddings, from the cache and without one."""

import pytest
import torch

from wanctl.data.cache import CacheError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.train.accelerator import start_processes
from wanctl.train.inputs.encode import LatentStore, TextStore

PROCESSES = start_processes("cpu")
SMALL_VAE = VAEShape(dim=8, dim_mult=(1, 1, 1, 1), num_res_blocks=1)


class LetterEncoder:
    """A row per letter."""

    key, text_len, dim = "letters-1", 8, 2

    def encode(self, prompts):
        rows = torch.zeros(len(prompts), self.text_len, self.dim)
        for row, prompt in zip(rows, prompts, strict=True):
            letters = torch.tensor([*map(ord, prompt)], dtype=torch.float32)
            # a matrix product: autocast would round it
            row[: len(prompt)] = letters[:, None] @ torch.tensor([[0.1, 1 / 3]])
        return rows


def make_vae():
    torch.manual_seed(0)
    return WanVAE(SMALL_VAE).eval()


def test_latents_are_the_same_bits_with_and_without_a_cache(tmp_path, memory_footage):
    footage = memory_footage()
    windows = [*footage.training_windows(), *footage.eval_windows()]
    cached = LatentStore(tmp_path / "latents", make_vae(), "toy")
    cached.encode(footage, windows, PROCESSES)
    live = LatentStore(None, make_vae(), "toy")
    live.encode(footage, windows, PROCESSES)
    assert live.key == cached.key
    reads = footage.reads
    for window in windows:
        with torch.autocast("cpu", torch.bfloat16):  # as in an evaluation in mixed precision
            assert torch.equal(live.get(window), cached.get(window))
    assert footage.reads > reads, "nothing was computed before it was asked for"
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_embeddings_are_the_same_bits_with_and_without_a_cache(tmp_path):
    prompts = ["a cat", "", "a dog"]
    cached, live = (TextStore(f, LetterEncoder()) for f in (tmp_path / "text", None))
    for store in (cached, live):
        store.encode(prompts, PROCESSES)
    for prompt in prompts:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(live.get(prompt), cached.get(prompt))
    assert live.get("a bird").shape == (6, 2), "a prompt that was not listed"


def test_latents_that_are_not_finite_are_refused_without_a_cache_too(memory_footage):
    vae = make_vae()
    with torch.no_grad():
        next(vae.parameters()).fill_(float("nan"))
    footage = memory_footage()
    store = LatentStore(None, vae, "toy")
    store.encode(footage, [], PROCESSES)
    with pytest.raises(CacheError, match="clip 0: the VAE makes latents with NaN"):
        store.get(footage.eval_windows()[0])
