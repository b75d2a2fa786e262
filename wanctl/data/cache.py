"""Latents and text embeddings computed once, stored under a key that names their inputs.

Shards are safetensors files of bounded size, named by the keys they hold and renamed into place
when complete, so several processes may write at once and a killed run loses at most one shard.
"""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from wanctl.atomic import replacing
from wanctl.checkpoint.files.write import save_tensors
from wanctl.errors import UserError
from wanctl.log import log

SHARD_BYTES = 64 * 2**20


class CacheError(UserError):
    """A cached tensor is damaged."""


def cache_key(*parts: object) -> str:
    """24 hex digits of a hash over everything that a tensor was computed from."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class LatentCache:
    """Tensors by key, on disk. Use `flush` (or `with`) after the last `put`.

    Args:
        folder: `DATASET/latents`, `DATASET/text` or `DATASET/conditions`.
        key: the network that computed the tensors: `NAME@HASH`.
        shard_bytes: a shard is written when it holds this much.
    """

    def __init__(self, folder: Path, key: str, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = folder / key
        self._shard_bytes = shard_bytes
        self._where: dict[str, Path] = {}
        self._open: dict[Path, safe_open] = {}
        self._pending: dict[str, torch.Tensor] = {}
        self.refresh()

    def __enter__(self) -> "LatentCache":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()

    def __contains__(self, key: str) -> bool:
        return key in self._pending or key in self._where

    def __len__(self) -> int:
        return len(self._pending.keys() | self._where.keys())

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys that are not in the cache, in the order of `keys`, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self]

    def put(self, key: str, tensor: torch.Tensor) -> None:
        """Store a tensor with its dtype; it is on disk after its shard is full or after `flush`."""
        self._pending[key] = tensor.detach().cpu().contiguous()
        if sum(t.nbytes for t in self._pending.values()) >= self._shard_bytes:
            self.flush()

    def get(self, key: str) -> torch.Tensor:
        """The tensor that was put under `key`, with its dtype, on the CPU.

        Raises:
            KeyError: there is no such key, or no longer.
            CacheError: its shard is damaged; the shard is deleted, to be computed again.
        """
        if key in self._pending:
            return self._pending[key]
        path = self._where[key]
        if path not in self._open and not path.exists():  # `delete_unused` wrote others for it
            self._drop(path)
            self.refresh()
            path = self._where[key]
        try:
            # not `setdefault`, which would open the shard at each read
            if (shard := self._open.get(path)) is None:
                shard = self._open[path] = safe_open(path, framework="pt")
            tensor = shard.get_tensor(key)
            intact = (shard.metadata() or {}).get(key) == _checksum(tensor)
        except (SafetensorError, OSError):
            intact, tensor = False, torch.empty(0)
        if not intact:
            self._drop(path)
            raise CacheError(f"{path}: damaged and deleted; run the same command again")
        return tensor

    def refresh(self) -> None:
        """List the shards that other processes wrote meanwhile."""
        listed = set(self._where.values())
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if path not in listed:
                self._index(path)

    def flush(self) -> None:
        """Write the pending tensors as one shard."""
        if not self._pending:
            return
        names = hashlib.sha256("\n".join(sorted(self._pending)).encode()).hexdigest()[:16]
        path = self.folder / f"shard-{names}.safetensors"
        sums = {key: _checksum(tensor) for key, tensor in self._pending.items()}
        with replacing(path) as temp:
            save_tensors(temp, self._pending, sums)
        self._open.pop(path, None)
        self._where.update(dict.fromkeys(self._pending, path))
        self._pending = {}

    def _index(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as shard:
                self._where.update(dict.fromkeys(shard.keys(), path))
        except (SafetensorError, OSError):
            log.warning("%s: damaged; its tensors are computed again", path)
            path.unlink(missing_ok=True)

    def _drop(self, path: Path) -> None:
        self._open.pop(path, None)
        self._where = {key: shard for key, shard in self._where.items() if shard != path}
        path.unlink(missing_ok=True)


def _checksum(tensor: torch.Tensor) -> str:
    return f"{zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().tobytes()):08x}"
