"""Write safetensors files whose bytes depend on nothing but their tensors and metadata.

The library's own `save_file` writes the entries of the metadata in another order each time and
creates files that only their owner may read (0.8). Here names and entries are sorted, and files
get the mode that the umask asks for.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wanctl.atomic import replacing

# Names of number formats in a safetensors header.
CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
HEADER_ALIGN = 8

Entry = tuple[str, torch.dtype, tuple[int, ...]]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file atomically."""
    with replacing(path) as partial:
        save_tensors(partial, tensors, metadata)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one safetensors file in place; for callers that rename it, or its folder, themselves.

    Args:
        path: is overwritten.
        tensors: on any device.
        metadata: of the header.
    """
    entries = ordered([(n, t.dtype, tuple(t.shape)) for n, t in tensors.items()])
    with path.open("wb") as file:
        file.write(header(entries, metadata or {}))
        for name, _, _ in entries:
            file.write(tensor_bytes(tensors[name]))


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """Entries in the order in which they are written: wide dtypes first, so that each is aligned.

    Args:
        entries: (name, dtype, shape) of each tensor.
    """
    return sorted(entries, key=lambda entry: (-entry[1].itemsize, entry[0]))


def header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the first tensor: the header's length and its JSON, padded.

    Args:
        entries: as `ordered` returns them.
        metadata: written sorted; left out where it is empty.
    """
    content: dict[str, object] = {}
    if metadata:
        content["__metadata__"] = dict(sorted(metadata.items()))
    end = 0
    for name, dtype, shape in entries:
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        content[name] = {
            "dtype": CODES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    # A lone surrogate, of a file name that is no UTF-8, is replaced.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    text += b" " * (-len(text) % HEADER_ALIGN)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's values as they are stored, in row-major order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
