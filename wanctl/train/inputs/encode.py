"""Encode once, train many steps: latents and text embeddings on disk, keyed by content.

A key names everything a tensor was made from: the VAE's weights, the clip's content, crop, window
and size; the text encoder and the cleaned caption. What is there is never made again, and a run
that is killed loses at most the shard it was filling.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from wanctl.data.cache import LatentCache, cache_key
from wanctl.encoders.text import TextEncoder, clean_prompt
from wanctl.log import log, progress
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.tasks.api import trim_text
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video

# More pixels than this are encoded piece by piece; 81x480x832 at once takes over 30 GB.
WHOLE_PIXELS = 17 * 256 * 256
RESIDENT_BYTES = 2**30


class LatentStore:
    """Latents of windows. `encode` makes those that are missing.

    Args:
        folder: `DATASET/latents`.
        vae: stays as it is for the life of the store.
        name: what the VAE is called; its weights' hash follows in the folder's name.
    """

    def __init__(self, folder: Path, vae: WanVAE, name: str) -> None:
        self.vae = vae
        self.key = f"{name}@{vae_hash(vae)}"
        self._cache = LatentCache(folder, self.key)
        self._resident = TensorCache(self._cache.get)

    def encode(self, footage: Footage, windows: Iterable[ClipWindow], device: torch.device) -> None:
        """Encode the windows that are not there yet."""
        by_key = {cache_key(window.key): window for window in windows}
        missing = self._cache.missing(by_key)
        if not missing:
            return
        log.info("encoding %d of %d windows with VAE %s", len(missing), len(by_key), self.key)
        self.vae.to(device)
        with progress(len(missing), "video to latents") as bar, self._cache:
            for key in missing:
                self._cache.put(key, encode_window(self.vae, footage, by_key[key], device))
                bar.advance()
        self.vae.to("cpu")

    def get(self, window: ClipWindow) -> Tensor:
        """(C, T, Y, X) fp32 normalised latents of an encoded window."""
        return self._resident.get(cache_key(window.key))


@torch.no_grad()
def encode_window(
    vae: WanVAE, footage: Footage, window: ClipWindow, device: torch.device
) -> Tensor:
    """(C, T, Y, X) fp32 normalised latents on the CPU.

    One window at a time: in a batch the last bits would depend on its neighbours.
    """
    frames, height, width = window.shape
    video = read_video(footage, window)[None].to(device)
    return vae.encode(video, chunked=frames * height * width > WHOLE_PIXELS)[0].cpu()


class TextStore:
    """Embeddings of prompts, without their zero rows. `encode` makes those that are missing.

    Args:
        folder: `DATASET/text`.
        encoder: used by `encode` and then let go.
    """

    def __init__(self, folder: Path, encoder: TextEncoder) -> None:
        self.key = encoder.key
        self.dim = encoder.dim
        self._encoder: TextEncoder | None = encoder
        self._cache = LatentCache(folder, self.key)
        self._resident = TensorCache(self._cache.get)

    def encode(self, prompts: Iterable[str]) -> None:
        """Embed the prompts that are not there yet, then drop the encoder: it may be 11 GB."""
        by_key = {cache_key(clean_prompt(prompt)): prompt for prompt in prompts}
        missing = self._cache.missing(by_key)
        if missing and self._encoder is not None:
            with progress(len(missing), "captions to embeddings") as bar, self._cache:
                for key in missing:
                    embedding = self._encoder.encode([by_key[key]])[0].cpu()
                    self._cache.put(key, trim_text(embedding))
                    bar.advance()
        self._encoder = None

    def get(self, prompt: str) -> Tensor:
        """(tokens, E) fp32 embedding of an encoded prompt."""
        return self._resident.get(cache_key(clean_prompt(prompt)))


class TensorCache:
    """Remembers what `load` gave, up to 1 GiB; safe to use from two threads."""

    def __init__(self, load: Callable[[str], Tensor], limit_bytes: int = RESIDENT_BYTES) -> None:
        self._load = load
        self._left_bytes = limit_bytes
        self._known: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Tensor:
        """The tensor of this key."""
        with self._lock:
            if key in self._known:
                return self._known[key]
            tensor = self._load(key)
            if tensor.nbytes <= self._left_bytes:
                self._left_bytes -= tensor.nbytes
                self._known[key] = tensor
            return tensor


def vae_hash(vae: WanVAE) -> str:
    """Twelve hex digits over sizes, statistics and weights, wherever they were loaded from."""
    total = hashlib.sha256(repr(vae.shape).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()[:12]
