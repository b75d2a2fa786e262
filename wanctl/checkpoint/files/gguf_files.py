"""Read GGUF files of transformers, as ComfyUI-GGUF and its tools write them.

A file is read by the `gguf` package of llama.cpp, an extra of this program; its own functions
dequantise the blocks. Tensors are read one by one, so that one of them is held at a time. A tensor
of more than four dimensions may be stored flat, with its shape beside it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

ROWS = 256  # dequantised by one thread at a time
SHAPE_KEY = "comfy.gguf.orig_shape."
INSTALL = "pip install 'wanctl[gguf]'"
PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def gguf_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in a file, from its header.

    Raises:
        WeightsError: the package is not installed, or the file is not complete.
    """
    return {each.name: _shape(reader, each) for reader, each in _tensors(path)}


def gguf_dtypes(path: Path) -> dict[str, torch.dtype]:
    """Name -> dtype of what `read_gguf` yields: fp32 for quantised tensors."""
    return {
        each.name: PLAIN.get(each.tensor_type.name, torch.float32) for _, each in _tensors(path)
    }


def read_gguf(path: Path, name: str) -> Tensor:
    """One tensor: plain numbers in their own format, quantised ones as fp32.

    Raises:
        WeightsError: it is quantised in a way that the package does not know.
    """
    reader, tensor = next(pair for pair in _tensors(path) if pair[1].name == name)
    return _dequantized(path, tensor).reshape(_shape(reader, tensor))


def stored_gguf(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, bytes as they are stored), uint8: for hashing, without dequantising."""
    for _, tensor in _tensors(path):
        yield tensor.name, torch.from_numpy(_stored(path, tensor).view(np.uint8).reshape(-1))


def _dequantized(path: Path, tensor: "ReaderTensor") -> Tensor:
    kind, stored = tensor.tensor_type, _stored(path, tensor)
    if kind.name == "BF16":
        return torch.from_numpy(stored.reshape(-1).view(np.int16)).view(torch.bfloat16)
    if kind.name in PLAIN or stored.dtype != np.uint8:
        return torch.from_numpy(stored)
    try:
        return torch.from_numpy(_dequantize(stored, kind))
    except NotImplementedError:
        raise WeightsError(
            f"{path}: {tensor.name} is quantised as {kind.name}, which the gguf package cannot "
            "dequantise; take a file in F16, BF16, Q8_0, Q6_K, Q5_K or Q4_K"
        ) from None


def _dequantize(stored: np.ndarray, kind: Any) -> np.ndarray:
    """Rows of fp32, by the package's functions on all cores: one gives 40 million values a second.

    Raises:
        NotImplementedError: it has no function for this kind.
    """
    from gguf import quants  # noqa: PLC0415

    rows = stored.reshape(-1, stored.shape[-1])
    pieces = np.array_split(rows, max(1, len(rows) // ROWS))
    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(lambda piece: quants.dequantize(piece, kind), pieces)))


def _stored(path: Path, tensor: "ReaderTensor") -> np.ndarray:
    # Not from the mapped file, whose pages would stay in memory.
    data = tensor.data
    return np.fromfile(path, data.dtype, data.size, offset=int(tensor.data_offset)).reshape(
        data.shape
    )


def _shape(reader: "GGUFReader", tensor: "ReaderTensor") -> tuple[int, ...]:
    """Row-major shape; GGUF names the sides from the last to the first."""
    field = reader.get_field(SHAPE_KEY + tensor.name)
    if field is None:
        return tuple(int(side) for side in reversed(tensor.shape))
    return tuple(int(field.parts[index][0]) for index in field.data)


def _tensors(path: Path) -> Iterator[tuple["GGUFReader", "ReaderTensor"]]:
    about = path.stat()
    reader = _open(path, about.st_size, about.st_mtime_ns)
    return ((reader, tensor) for tensor in reader.tensors)


@lru_cache(maxsize=4)
def _open(path: Path, _size: int, _time: int) -> Any:
    """The header of a file, kept while the file stays as it is.

    Raises:
        WeightsError: the package is not installed, or the file is not complete.
    """
    try:
        from gguf import GGUFReader  # noqa: PLC0415
    except ImportError:
        raise WeightsError(
            f"{path}: is a GGUF file, which the package `gguf` reads; install it with `{INSTALL}`, "
            "or take the .safetensors of the same model"
        ) from None
    try:
        reader = GGUFReader(path)
    except (ValueError, KeyError, IndexError, TypeError, OSError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a complete GGUF file ({reason})") from None
    if reader.byte_order != "I":
        raise WeightsError(f"{path}: a GGUF file in the byte order of other machines")
    return reader
