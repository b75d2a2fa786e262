"""Tensors that are read only when they are written, one at a time.

A conversion holds one tensor in memory, whatever the size of the model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from wanctl.atomic import replacing
from wanctl.checkpoint.files.gguf_files import gguf_dtypes, read_gguf
from wanctl.checkpoint.files.pickles import load_pickle
from wanctl.checkpoint.files.tensor_files import (
    REMAP_BYTES,
    WeightsError,
    is_gguf,
    is_pickle,
    tensor_views,
)
from wanctl.checkpoint.files.write import CODES, header, ordered, tensor_bytes
from wanctl.log import Bar

DTYPES = {code: dtype for dtype, code in CODES.items()}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that has not been read.

    Attributes:
        shape: of the tensor.
        dtype: of what `read` returns.
        read: reads it from its file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def count(self) -> int:
        """Number of elements."""
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def nbytes(self) -> int:
        """Size in a file."""
        return self.count * self.dtype.itemsize

    def to(self, dtype: torch.dtype) -> "LazyTensor":
        """This tensor converted to another dtype when it is read."""
        if dtype == self.dtype:
            return self
        return replace(self, dtype=dtype, read=lambda: self.read().to(dtype))

    def map(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> "LazyTensor":
        """The result of a function of this tensor, of a given shape, computed when it is read."""
        return LazyTensor(shape, self.dtype, lambda: function(self.read()))


class TensorFileReader:
    """Reads the tensors of one file, which is remapped regularly: that frees pages already read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._read_bytes = 0

    def lazy_tensors(self) -> dict[str, LazyTensor]:
        """Every tensor of the file by its stored name.

        Raises:
            WeightsError: not a file of tensors, or of a dtype that is not supported.
        """
        views = tensor_views(self._path)  # raises a readable error for a damaged file
        if is_gguf(self._path):
            dtypes, get = gguf_dtypes(self._path), partial(read_gguf, self._path)
        elif is_pickle(self._path):
            state = load_pickle(self._path)
            dtypes, get = {name: tensor.dtype for name, tensor in state.items()}, state.__getitem__
        else:
            with safe_open(self._path, framework="pt") as file:
                codes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            dtypes, get = {name: self._dtype(code) for name, code in codes.items()}, self._get
        return {
            name: LazyTensor(
                view.shape,
                torch.float32 if view.scale else dtypes[view.stored],
                partial(view.read, get),
            )
            for name, view in views.items()
        }

    def _get(self, name: str) -> Tensor:
        if self._file is None or self._read_bytes > REMAP_BYTES:
            self._file = safe_open(self._path, framework="pt")
            self._read_bytes = 0
        tensor = self._file.get_tensor(name)
        self._read_bytes += tensor.nbytes
        return tensor

    def _dtype(self, code: str) -> torch.dtype:
        if code not in DTYPES:
            raise WeightsError(
                f"{self._path}: holds numbers of format {code}, which is not supported"
            )
        return DTYPES[code]


def write_safetensors(
    path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str], bar: Bar
) -> None:
    """Write a safetensors file atomically, holding one tensor in memory.

    Args:
        path: replaced at the end.
        tensors: in any order.
        metadata: of the header.
        bar: advanced by the bytes written.
    """
    entries = ordered([(name, lazy.dtype, lazy.shape) for name, lazy in tensors.items()])
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(header(entries, metadata))
        for name, dtype, shape in entries:
            lazy = tensors[name]
            tensor = lazy.read()
            assert tuple(tensor.shape) == shape, name
            assert tensor.dtype == dtype, name
            file.write(tensor_bytes(tensor))
            bar.advance(lazy.nbytes)


def write_pth(path: Path, tensors: Mapping[str, LazyTensor], bar: Bar) -> None:
    """Write a `.pth` atomically; its tensors go to a memory-mapped file first."""
    mapped = path.with_name(f".{path.name}.safetensors")
    try:
        write_safetensors(mapped, tensors, {}, bar)
        opened = TensorFileReader(mapped).lazy_tensors()
        # In the order of the argument, which is that of the published file.
        state = {name: opened[name].read() for name in tensors}
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
    finally:
        mapped.unlink(missing_ok=True)
