"""Encode once, train many steps: latents and text embeddings on disk, keyed by content.

A key names everything a tensor was computed from: the VAE's weights, the clip's content, crop,
window and size; the text encoder and the cleaned caption. Nothing in the cache is computed again,
and a run that is killed loses at most the shard it was filling.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.fingerprint import vae_hash
from wanctl.data.cache import CacheError, LatentCache, cache_key
from wanctl.encoders.text import TextEncoder, clean_prompt
from wanctl.log import log, progress
from wanctl.model.shapes import PixelShape, fits_unchunked
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.tasks.api import trim_text
from wanctl.train.accelerator import Processes
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video

RESIDENT_BYTES = 2**30


class LatentStore:
    """Latents of windows on disk; `encode` adds those that are missing.

    Args:
        folder: `DATASET/latents`.
        vae: its weights must not change while the store is in use.
        name: of the VAE; the folder's name is this and the hash of the weights.
    """

    def __init__(self, folder: Path, vae: WanVAE, name: str) -> None:
        self.vae = vae
        self.key = f"{name}@{vae_hash(vae)}"
        self._cache = LatentCache(folder, self.key)
        self._in_memory = TensorCache(lambda key: _finite(self._cache, key, "latents"))

    def encode(self, footage: Footage, windows: Iterable[ClipWindow], processes: Processes) -> None:
        """Encode the windows that the cache lacks; each process of the run encodes its share."""
        by_key = {cache_key(window.key): window for window in windows}
        missing = self._cache.missing(processes.share(by_key))
        if missing:
            log.info("encoding %d of %d windows with VAE %s", len(missing), len(by_key), self.key)
            self._encode(footage, {key: by_key[key] for key in missing}, processes.device)
        processes.wait()
        self._cache.refresh()

    def get(self, window: ClipWindow) -> Tensor:
        """(C, T, Y, X) fp32 normalised latents of an encoded window."""
        return self._in_memory.get(cache_key(window.key))

    def _encode(
        self, footage: Footage, missing: Mapping[str, ClipWindow], device: torch.device
    ) -> None:
        self.vae.to(device)
        with progress(len(missing), "video to latents") as bar, self._cache:
            for key, window in missing.items():
                latents = encode_window(self.vae, footage, window, device)
                if not is_finite(latents):
                    raise CacheError(
                        f"clip {window.clip}: the VAE makes latents with NaN or infinity of it; "
                        "the VAE's training may have diverged (`wanctl weights check` reads its "
                        "weights)"
                    )
                self._cache.put(key, latents)
                bar.advance()
        self.vae.to("cpu")


@torch.no_grad()
def encode_window(
    vae: WanVAE, footage: Footage, window: ClipWindow, device: torch.device
) -> Tensor:
    """(C, T, Y, X) fp32 normalised latents on the CPU.

    One window at a time: in a batch the last bits would depend on its neighbours.
    """
    video = read_video(footage, window)[None].to(device)
    return vae.encode(video, chunked=not fits_unchunked(PixelShape(*window.shape)))[0].cpu()


class TextStore:
    """Embeddings of prompts without their zero rows, on disk; `encode` adds those that are missing.

    Args:
        folder: `DATASET/text`.
        encoder: used by `encode` and then freed.
    """

    def __init__(self, folder: Path, encoder: TextEncoder) -> None:
        self.key = encoder.key
        self.dim = encoder.dim
        self._encoder: TextEncoder | None = encoder
        self._cache = LatentCache(folder, self.key)
        self._in_memory = TensorCache(lambda key: _finite(self._cache, key, "embeddings"))

    def encode(self, prompts: Iterable[str], processes: Processes) -> None:
        """Embed the prompts that the cache lacks, then free the encoder: it may be 11 GB.

        Each process of the run embeds its share.
        """
        by_key = {cache_key(clean_prompt(prompt)): prompt for prompt in prompts}
        missing = self._cache.missing(processes.share(by_key))
        if missing and self._encoder is not None:
            with progress(len(missing), "captions to embeddings") as bar, self._cache:
                for key in missing:
                    embedding = self._encoder.encode([by_key[key]])[0].cpu()
                    self._cache.put(key, trim_text(embedding))
                    bar.advance()
        self._encoder = None
        processes.wait()
        self._cache.refresh()

    def get(self, prompt: str) -> Tensor:
        """(tokens, E) fp32 embedding of an encoded prompt."""
        return self._in_memory.get(cache_key(clean_prompt(prompt)))


def _finite(cache: LatentCache, key: str, what: str) -> Tensor:
    """The cached tensor of a key.

    Raises:
        CacheError: it is damaged, or not finite; an earlier version kept such latents.
    """
    tensor = cache.get(key)
    if not is_finite(tensor):
        raise CacheError(
            f"{cache.folder}: holds {what} with NaN or infinity; delete this folder and run the "
            "same command again"
        )
    return tensor


class TensorCache:
    """Keeps loaded tensors in memory, up to 1 GiB; safe to use from two threads."""

    def __init__(self, load: Callable[[str], Tensor], limit_bytes: int = RESIDENT_BYTES) -> None:
        self._load = load
        self._left_bytes = limit_bytes
        self._tensors: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Tensor:
        """The tensor of this key."""
        with self._lock:
            if key in self._tensors:
                return self._tensors[key]
            tensor = self._load(key)
            if tensor.nbytes <= self._left_bytes:
                self._left_bytes -= tensor.nbytes
                self._tensors[key] = tensor
            return tensor
