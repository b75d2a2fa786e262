"""Reading and writing files of tensors: safetensors, and torch's own without running its pickle.

Reading maps files into memory: a tensor costs nothing until it is touched, and on the CPU in its
own dtype it is never copied.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wanctl.atomic import replacing, write_bytes
from wanctl.errors import UserError

PICKLES = (".pth", ".bin")
WEIGHT_SUFFIXES = (".safetensors", *PICKLES)
# A file is mapped anew for each run of tensors of this size, so that pages already converted to
# another dtype or copied to a GPU do not pile up in memory.
RUN_BYTES = 512 * 2**20
# A fingerprint reads this much of a file, not the gigabytes between.
PROBES = 64
PROBE_BYTES = 4096
# Tensor names spelt out in an error, per kind of mistake.
NAMES_SHOWN = 3


class WeightsError(UserError):
    """Weights that are not there, cannot be read, or are not what they should be."""


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        WeightsError: not JSON, or not an object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: got {type(config).__name__}; need a JSON object")
    return config


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a file."""
    return list(tensor_shapes(path))


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape, from the header alone.

    Raises:
        WeightsError: truncated, of another format, or a pickle that holds more than tensors.
    """
    if path.suffix in PICKLES:
        return {name: tuple(tensor.shape) for name, tensor in load_pth(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file's header says besides its tensors; nothing for a pickle.

    Raises:
        WeightsError: truncated, or of another format.
    """
    if path.suffix in PICKLES:
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None


def read_tensors(files: Iterable[Path], names: Container[str]) -> Iterator[tuple[str, Tensor]]:
    """(name, memory-mapped tensor) of the named tensors alone."""
    for path in files:
        if path.suffix in PICKLES:
            yield from ((name, t) for name, t in load_pth(path).items() if name in names)
            continue
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if name in names:
                    yield name, file.get_tensor(name)


def check_tensors(
    got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Compare names and shapes.

    Raises:
        WeightsError: counts and first names of what is missing, too much, or of another shape.
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
    """(name, memory-mapped tensor) of one file."""
    if path.suffix in PICKLES:
        yield from load_pth(path).items()
        return
    for run in _runs(path):
        with safe_open(path, framework="pt") as file:
            for name in run:
                yield name, file.get_tensor(name)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file, whole or not at all."""
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file(whole, partial, metadata=dict(metadata))


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    write_bytes(path, (json.dumps(config, indent=2) + "\n").encode())


def fingerprint(files: Iterable[Path], *, about: str = "") -> str:
    """Hex digits that change with the names, sizes or contents of files, not with their place.

    Reads evenly spaced probes of each file, first and last bytes included: training moves all
    tensors, so that one of them shows it.

    Args:
        files: weights and what goes with them, in a fixed order.
        about: text that counts as well.
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


def _runs(path: Path) -> Sequence[Sequence[str]]:
    with safe_open(path, framework="pt") as file:
        sizes = {}
        for name in file.keys():  # noqa: SIM118
            count = 4
            for side in file.get_slice(name).get_shape():
                count *= side
            sizes[name] = count
    return shards(sizes, RUN_BYTES)


def load_pth(path: Path) -> dict[str, Tensor]:
    """A flat name -> tensor dict; pickles that would run code are refused."""
    if path.is_file() and not is_zipfile(path):
        raise WeightsError(f"{path}: not a whole file of torch.save (nor one of torch before 1.6)")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError:  # its text advises to run the code
        raise WeightsError(
            f"{path}: not a file of tensors alone, and its code is not run; need a flat dict"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a file of tensors ({reason})") from None
    if not isinstance(loaded, dict) or not all(isinstance(t, Tensor) for t in loaded.values()):
        raise WeightsError(f"{path}: holds more than a flat dict of tensors")
    return loaded
