"""Encode once, train many steps: latents and text embeddings on disk, keyed by content.

A key names everything a tensor was computed from: the VAE's weights, the clip's content, crop,
window and size; the text encoder and the cleaned caption. Nothing in the cache is computed again,
and a run that is killed loses at most the shard it was filling.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.fingerprint import vae_hash
from wanctl.data.cache import CacheError, LatentCache, cache_key
from wanctl.data.caches.use import record_use
from wanctl.encoders.text import TextEncoder, clean_prompt
from wanctl.log import log, progress
from wanctl.model.shapes import PixelShape, fits_unchunked
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.tasks.api import trim_text
from wanctl.train.accelerator import Processes
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video

RESIDENT_BYTES = 2**30
ItemT = TypeVar("ItemT")


class LatentStore:
    """Latents of windows on disk, where `encode` adds those that are missing, or computed at need.

    Args:
        folder: `DATASET/latents`; None: nothing is kept on disk, `get` encodes.
        vae: its weights must not change while the store is in use. Without a folder it stays on the
            device and must not be moved by others.
        name: of the VAE; the folder's name is this and the hash of the weights.
    """

    def __init__(self, folder: Path | None, vae: WanVAE, name: str) -> None:
        self.vae = vae
        self.key = f"{name}@{vae_hash(vae)}"
        self._cache = None if folder is None else LatentCache(folder, self.key)
        self._in_memory = TensorCache()
        self._live: tuple[Footage, torch.device] | None = None

    def encode(
        self,
        footage: Footage,
        windows: Iterable[ClipWindow],
        processes: Processes,
        run: Path | None = None,
    ) -> None:
        """Encode the windows that the cache lacks; each process of the run encodes its share.

        Args:
            footage: source of the windows.
            windows: all that the run reads.
            processes: those of the run.
            run: folder of the run, recorded as a user of the windows' latents; None: not recorded.
        """
        if self._cache is None:
            self.vae.to(processes.device)
            self._live = footage, processes.device
            return
        by_key = {cache_key(window.key): window for window in windows}

        def compute(window: ClipWindow) -> Tensor:
            self.vae.to(processes.device)
            return self._compute(footage, window, processes.device)

        what = f"windows with VAE {self.key}"
        add_missing(self._cache, by_key, compute, processes, run, "video to latents", what)
        self.vae.to("cpu")

    def get(self, window: ClipWindow) -> Tensor:
        """(C, T, Y, X) fp32 normalised latents of a window on the CPU.

        Raises:
            CacheError: they are damaged, or not finite.
        """
        return self._in_memory.get(cache_key(window.key), lambda key: self._load(key, window))

    def _load(self, key: str, window: ClipWindow) -> Tensor:
        """Latents from the cache, or of the VAE where there is none.

        Raises:
            CacheError: they are damaged, or not finite.
        """
        if self._cache is None:
            assert self._live is not None, "`encode` comes first"
            footage, device = self._live
            return self._compute(footage, window, device)
        return _finite(self._cache, key, "latents")

    def _compute(self, footage: Footage, window: ClipWindow, device: torch.device) -> Tensor:
        latents = encode_window(self.vae, footage, window, device)
        if not is_finite(latents):
            raise CacheError(
                f"clip {window.clip}: the VAE makes latents with NaN or infinity of it; the VAE's "
                "training may have diverged (`wanctl weights check` reads its weights)"
            )
        return latents


@torch.no_grad()
def encode_window(
    vae: WanVAE, footage: Footage, window: ClipWindow, device: torch.device
) -> Tensor:
    """(C, T, Y, X) fp32 normalised latents on the CPU.

    One window at a time and outside autocast: the last bits depend neither on its neighbours nor
    on whether a batch or an evaluation asks.
    """
    video = read_video(footage, window)[None].to(device)
    with torch.autocast(device.type, enabled=False):
        return vae.encode(video, chunked=not fits_unchunked(PixelShape(*window.shape)))[0].cpu()


class TextStore:
    """Embeddings of prompts without their zero rows, on disk or computed at need.

    Args:
        folder: `DATASET/text`, where `encode` adds what is missing; None: `get` embeds.
        encoder: with a folder it is used by `encode` and then freed.
    """

    def __init__(self, folder: Path | None, encoder: TextEncoder) -> None:
        self.key = encoder.key
        self.dim = encoder.dim
        self._encoder: TextEncoder | None = encoder
        self._cache = None if folder is None else LatentCache(folder, self.key)
        self._in_memory = TensorCache()

    def encode(self, prompts: Iterable[str], processes: Processes, run: Path | None = None) -> None:
        """Embed the prompts that the cache lacks, then free the encoder: it may be 11 GB.

        Each process of the run embeds its share. Without a folder nothing is done. `run` is
        recorded as a user of the embeddings.
        """
        if self._cache is None:
            return
        by_key = {cache_key(clean_prompt(prompt)): prompt for prompt in prompts}
        add_missing(self._cache, by_key, self._compute, processes, run, "captions to embeddings")
        self._encoder = None

    def get(self, prompt: str) -> Tensor:
        """(tokens, E) fp32 embedding of a prompt on the CPU."""

        def load(key: str) -> Tensor:
            if self._cache is None:
                return self._compute(prompt)
            return _finite(self._cache, key, "embeddings")

        return self._in_memory.get(cache_key(clean_prompt(prompt)), load)

    def _compute(self, prompt: str) -> Tensor:
        assert self._encoder is not None
        # previews ask inside autocast, batches outside
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return trim_text(self._encoder.encode([prompt])[0].cpu())


def add_missing(
    cache: LatentCache,
    items: Mapping[str, ItemT],
    compute: Callable[[ItemT], Tensor],
    processes: Processes,
    run: Path | None,
    title: str,
    what: str | None = None,
) -> None:
    """Compute what a cache lacks; each process of the run computes its share and waits for all.

    Args:
        cache: receives the tensors.
        items: key -> what its tensor is computed from.
        compute: the tensor of an item.
        processes: those of the run.
        run: folder of the run, recorded as a user of all items; None: not recorded.
        title: of the progress bar.
        what: the items are, for a line of the log that counts them; None: no line.
    """
    if run is not None and items and processes.is_main:
        record_use(cache.folder, run, items)
    missing = cache.missing(processes.share(items))
    if missing:
        if what is not None:
            log.info("encoding %d of %d %s", len(missing), len(items), what)
        with progress(len(missing), title) as bar, cache:
            for key in missing:
                cache.put(key, compute(items[key]))
                bar.advance()
    processes.wait()
    cache.refresh()


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
    """Keeps loaded tensors in memory, up to 1 GiB; safe to use from two threads.

    Args:
        limit_bytes: tensors beyond it are loaded again each time.
    """

    def __init__(self, limit_bytes: int = RESIDENT_BYTES) -> None:
        self._left_bytes = limit_bytes
        self._tensors: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def get(self, key: str, load: Callable[[str], Tensor]) -> Tensor:
        """The tensor of this key, from `load` where it is not in memory; one thread at a time."""
        with self._lock:
            if key in self._tensors:
                return self._tensors[key]
            tensor = load(key)
            if tensor.nbytes <= self._left_bytes:
                self._left_bytes -= tensor.nbytes
                self._tensors[key] = tensor
            return tensor
