"""Read and write files of tensors: safetensors, GGUF, and torch's own without running its code.

Files are memory-mapped: a tensor takes no memory until it is used, and on the CPU in its own dtype
it is never copied. Tensors that a file stores in another form than the network has them
(`stored_views.py`, `gguf_files.py`) are converted one by one.
"""

import hashlib
import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from wanctl.atomic import write_bytes
from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.gguf_files import gguf_shapes, read_gguf, stored_gguf
from wanctl.checkpoint.files.kinds import describe, weight_format
from wanctl.checkpoint.files.pickles import load_pickle
from wanctl.checkpoint.files.stored_views import StoredView, stored_views
from wanctl.checkpoint.files.write import CODES

MAX_JSON_BYTES = 100_000_000  # an index lists each tensor; published ones have 0.2 MB
PICKLES = (".pth", ".pt", ".ckpt", ".bin")
WEIGHT_SUFFIXES = (".safetensors", *PICKLES, ".gguf")
# A file is remapped after each group of tensors of this size, which frees the pages of tensors
# already converted to another dtype or copied to a GPU.
REMAP_BYTES = 512 * 2**20
# A fingerprint reads this many probes of a file instead of gigabytes.
PROBES = 64
PROBE_BYTES = 4096
# Tensor names listed in an error, per kind of mismatch.
NAMES_SHOWN = 3


def is_pickle(path: Path) -> bool:
    """Whether a file was written by torch.save.

    Raises:
        WeightsError: it is of no format that can be read; says what it is.
    """
    return weight_format(path).startswith("torch")


def is_gguf(path: Path) -> bool:
    """Whether a file is in GGUF's format.

    Raises:
        WeightsError: it is of no format that can be read; says what it is.
    """
    return weight_format(path) == "gguf"


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        WeightsError: not JSON, or not an object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise WeightsError(f"{path}: has over {MAX_JSON_BYTES / 1e6:.0f} MB; is no config")
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: not readable as JSON ({error}); it is {describe(path)}"
        ) from None
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: got {type(config).__name__}; need a JSON object")
    return config


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a file, from its header."""
    return list(tensor_shapes(path))


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors that a file stands for, from its header.

    Raises:
        WeightsError: truncated, of another format, or a pickle that holds more than tensors.
    """
    return {name: view.shape for name, view in tensor_views(path).items()}


def tensor_views(path: Path) -> dict[str, StoredView]:
    """Name -> where and how the file has each tensor; errors as for `tensor_shapes`."""
    return stored_views(_stored_shapes(path))


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if is_gguf(path):
        return gguf_shapes(path)
    if is_pickle(path):
        return {name: tuple(tensor.shape) for name, tensor in load_pickle(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a complete safetensors file ({error})") from None


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata in the header of a safetensors file; empty for another.

    Raises:
        WeightsError: truncated, or of another format.
    """
    if weight_format(path) != "safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a complete safetensors file ({error})") from None


def read_tensors(files: Iterable[Path], names: Container[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, memory-mapped tensor) of the named tensors."""
    for path in files:
        yield from _read(path, {n: v for n, v in tensor_views(path).items() if n in names})


def check_tensors(
    got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Compare names and shapes of stored tensors with those expected.

    Raises:
        WeightsError: counts and first names of missing, unexpected and misshapen tensors.
    """
    missing = [name for name in expected if name not in got]
    unexpected = [name for name in got if name not in expected]
    other = [
        f"{name} {got[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in got and got[name] != shape
    ]

    def more(names: list[str]) -> str:
        return ", ..." if len(names) > NAMES_SHOWN else ""

    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:NAMES_SHOWN])}{more(names)})"
        for kind, names in kinds.items()
        if names
    ]
    if problems:
        raise WeightsError(f"{where}: tensors do not fit the model: {'; '.join(problems)}")


def iterate_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, memory-mapped tensor) of all tensors that a file stands for."""
    yield from _read(path, tensor_views(path))


def iterate_stored(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) as `iterate_tensors`, but of GGUF the bytes before dequantisation."""
    yield from stored_gguf(path) if is_gguf(path) else iterate_tensors(path)


def _read(path: Path, views: Mapping[str, StoredView]) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of some tensors of a file."""
    if is_gguf(path):
        yield from ((name, view.read(partial(read_gguf, path))) for name, view in views.items())
        return
    if is_pickle(path):
        state = load_pickle(path)
        yield from ((name, view.read(state.__getitem__)) for name, view in views.items())
        return
    for group in _remap_groups(views):
        with safe_open(path, framework="pt") as file:
            get = partial(_get_tensor, file, path)
            for name in group:
                yield name, views[name].read(get)


def _get_tensor(file: Any, path: Path, name: str) -> Tensor:
    """One tensor of an open safetensors file.

    Raises:
        WeightsError: its number format is not supported.
    """
    try:
        tensor = file.get_tensor(name)
    except (SafetensorError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{path}: {name} cannot be read ({error})") from None
    if tensor.dtype not in CODES:
        raise WeightsError(
            f"{path}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, which is not "
            "supported; take the weights in fp8, fp16, bf16 or fp32"
        )
    return tensor


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_bytes(path, (json.dumps(config, indent=2) + "\n").encode())


def fingerprint(files: Iterable[Path], *, about: str = "") -> str:
    """Hex digits that depend on the names, sizes and contents of files, not on their folders.

    Reads evenly spaced probes of each file, first and last bytes included: training changes all
    tensors, so that some probe differs.

    Args:
        files: weights and their companions, in a fixed order.
        about: text that is hashed as well.
    """
    digest = hashlib.sha256(about.encode())
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for probe in range(PROBES):
                file.seek(probe * max(size - PROBE_BYTES, 0) // (PROBES - 1))
                digest.update(file.read(PROBE_BYTES))
    return digest.hexdigest()


def shards(sizes: Mapping[str, int], max_bytes: int) -> list[list[str]]:
    """Split names into consecutive groups of at most `max_bytes` (or one tensor)."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > max_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _remap_groups(views: Mapping[str, StoredView]) -> Sequence[Sequence[str]]:
    return shards({name: 4 * math.prod(view.shape) for name, view in views.items()}, REMAP_BYTES)
