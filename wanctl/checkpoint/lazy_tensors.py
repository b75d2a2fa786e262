"""Tensors that are read when they are written, and files written one tensor at a time.

Memory holds one tensor, whatever the size of the model.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from wanctl.atomic import replacing
from wanctl.checkpoint.tensor_files import (
    PICKLES,
    RUN_BYTES,
    WeightsError,
    load_pth,
    tensor_shapes,
)
from wanctl.log import Bar

# Names of number formats in a safetensors header.
CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
DTYPES = {code: dtype for dtype, code in CODES.items()}
HEADER_ALIGN = 8


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def count(self) -> int:
        """Numbers in it."""
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def nbytes(self) -> int:
        """Size in a file."""
        return self.count * self.dtype.itemsize

    def to(self, dtype: torch.dtype) -> "LazyTensor":
        """The same in another number format."""
        if dtype == self.dtype:
            return self
        return replace(self, dtype=dtype, read=lambda: self.read().to(dtype))

    def map(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> "LazyTensor":
        """What a function makes of it."""
        return LazyTensor(shape, self.dtype, lambda: function(self.read()))


class TensorFileReader:
    """One file, mapped anew now and then so that pages that were read do not pile up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._read_bytes = 0

    def lazy_tensors(self) -> dict[str, LazyTensor]:
        """Every tensor by its stored name.

        Raises:
            WeightsError: not a file of tensors.
        """
        if self._path.suffix in PICKLES:
            return {
                name: LazyTensor(tuple(tensor.shape), tensor.dtype, lambda tensor=tensor: tensor)
                for name, tensor in load_pth(self._path).items()
            }
        tensor_shapes(self._path)  # says what is wrong with the file
        with safe_open(self._path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: LazyTensor(
                    tuple(s.get_shape()), self._dtype(s.get_dtype()), self._reader(name)
                )
                for name, s in slices.items()
            }

    def _reader(self, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            if self._file is None or self._read_bytes > RUN_BYTES:
                self._file = safe_open(self._path, framework="pt")
                self._read_bytes = 0
            tensor = self._file.get_tensor(name)
            self._read_bytes += tensor.nbytes
            return tensor

        return read

    def _dtype(self, code: str) -> torch.dtype:
        if code not in DTYPES:
            raise WeightsError(f"{self._path}: holds numbers of format {code}; not read here")
        return DTYPES[code]


def write_safetensors(
    path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str], bar: Bar
) -> None:
    """Write a safetensors file, whole or not at all, holding one tensor in memory.

    Args:
        path: replaced at the end.
        tensors: in any order; wide formats go first, so that each begins where it may.
        metadata: for the header.
        bar: moved on by the bytes written.
    """
    ordered = sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, lazy in ordered:
        start, end = end, end + lazy.nbytes
        shape = list(lazy.shape)
        header[name] = {"dtype": CODES[lazy.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER_ALIGN)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, lazy in ordered:
            tensor = lazy.read().detach().contiguous()
            assert tuple(tensor.shape) == lazy.shape, name
            assert tensor.dtype == lazy.dtype, name
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
            bar.advance(lazy.nbytes)


def write_pth(path: Path, tensors: Mapping[str, LazyTensor], bar: Bar) -> None:
    """Write a `.pth`, whole or not at all; its tensors are written to a mapped file first."""
    mapped = path.with_name(f".{path.name}.safetensors")
    try:
        write_safetensors(mapped, tensors, {}, bar)
        opened = TensorFileReader(mapped).lazy_tensors()
        # In the order given: it is that of the published file.
        state = {name: opened[name].read() for name in tensors}
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    finally:
        mapped.unlink(missing_ok=True)
