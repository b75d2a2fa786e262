"""Which runs use the latents, embeddings and conditions that a data set keeps.

A run records the keys of the tensors that it needs before it computes those that are missing. Its
next start records them anew, so that a change of buckets, windows, captions or networks leaves
entries that no run uses. Nothing is deleted unless somebody asks for it.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.atomic import make_folder, write_bytes
from wanctl.data.cache import LatentCache
from wanctl.log import log

KINDS = ("latents", "text", "conditions")
USES = "uses"


@dataclass(frozen=True)
class CacheUse:
    """The use of what one network computed.

    Attributes:
        folder: `DATASET/KIND/NETWORK`.
        num_tensors: that it holds.
        num_bytes: of these.
        unused: keys that no run uses.
        unused_bytes: of these.
        runs: folders of the runs that use some; runs that are deleted do not count.
        is_recorded: whether any run recorded its use; else nothing is known to be unused.
    """

    folder: Path
    num_tensors: int
    num_bytes: int
    unused: frozenset[str]
    unused_bytes: int
    runs: Sequence[str]
    is_recorded: bool


def record_use(folder: Path, run: Path, keys: Iterable[str]) -> None:
    """Record the keys that a run uses, in place of those of its last start.

    Args:
        folder: of the cache, `DATASET/KIND/NETWORK`.
        run: folder of the run.
        keys: of all its tensors, cached or not.
    """
    where = str(run.resolve())
    name = hashlib.sha256(where.encode()).hexdigest()[:16]
    make_folder(folder / USES)
    text = json.dumps({"run": where, "keys": sorted(set(keys))})
    write_bytes(folder / USES / f"{name}.json", text.encode())


def cache_uses(dataset: Path) -> Iterator[CacheUse]:
    """The use of every cache of a data set directory."""
    for kind in KINDS:
        for folder in sorted((dataset / kind).glob("*")):
            if folder.is_dir():
                yield _use(folder)


def delete_unused(use: CacheUse) -> None:
    """Delete the tensors that no run uses; shards that hold others too are written again."""
    if not use.unused:
        return
    cache = LatentCache(use.folder.parent, use.folder.name)
    obsolete = []
    for path in _shards(use.folder):
        keys = _sizes(path).keys()
        if keys.isdisjoint(use.unused):
            continue
        for key in keys - use.unused:
            cache.put(key, cache.get(key))
        obsolete.append(path)
    cache.flush()
    for path in obsolete:
        path.unlink(missing_ok=True)


def _use(folder: Path) -> CacheUse:
    sizes: dict[str, int] = {}
    for path in _shards(folder):
        sizes |= _sizes(path)
    records = [*_records(folder)]
    used = {key for _, keys in records for key in keys}
    unused = frozenset(sizes.keys() - used) if records else frozenset()
    live = [run for run, keys in records if keys]
    return CacheUse(
        folder=folder,
        num_tensors=len(sizes),
        num_bytes=sum(sizes.values()),
        unused=unused,
        unused_bytes=sum(sizes[key] for key in unused),
        runs=live,
        is_recorded=bool(records),
    )


def _records(folder: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """(run, its keys); no keys for a run whose folder is gone."""
    for path in sorted((folder / USES).glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
            run, keys = str(record["run"]), list(record["keys"])
        except (ValueError, KeyError, TypeError):
            log.warning("%s: damaged; the run's next start writes it again", path)
            continue
        yield run, keys if Path(run).is_dir() else ()


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def _sizes(path: Path) -> dict[str, int]:
    """Key -> bytes of its tensor, from the header of a shard; empty where it is damaged."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError(length)
            header = json.loads(file.read(length))
        spans = {key: each["data_offsets"] for key, each in header.items() if key[:2] != "__"}
        return {key: end - start for key, (start, end) in spans.items()}
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        log.warning("%s: damaged; training computes its tensors again", path)
        return {}
