"""Read files of `torch.save` without running code in them, whatever they wrap around the weights.

Trainers save a state dict alone, or one among counters, optimizer states and averages. The best one
is taken, and a log line names it.
"""

import argparse
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.kinds import weight_format
from wanctl.checkpoint.files.wrappers import best_state
from wanctl.checkpoint.files.write import CODES
from wanctl.log import log

MAX_DEPTH = 8
MAX_PICKLE_BYTES = (
    256 * 2**20
)  # of data.pkl, which describes the tensors; published ones take 0.2 MB
UNSAFE_SHOWN = 3
# Settings of a trainer, which some save beside the weights; filling it sets attributes only.
HARMLESS: list[Any] = [argparse.Namespace]

State = dict[str, Tensor]


def load_pickle(path: Path) -> State:
    """Read the tensors of a file; pickles that would run code are refused.

    Raises:
        WeightsError: incomplete, with code, or without named tensors.
    """
    kind = weight_format(path)
    if kind == "torch":
        _check_archive(path)
    # torch itself goes by the ending .safetensors, whatever the file is
    loaded = _load(path, mapped=kind == "torch" and path.suffix != ".safetensors")
    states = dict(_states(loaded))
    if not states:
        raise WeightsError(f"{path}: holds no dict of named tensors, but {_what(loaded)}")
    chosen = best_state({name: state.keys() for name, state in states.items()})
    if chosen:
        others = [name or "tensors beside it" for name in states if name != chosen]
        _announce(path, chosen, ", ".join(others))
    state = states[chosen]
    size = path.stat().st_size
    for name, tensor in state.items():
        _check_tensor(path, name, tensor, size)
    return {name: tensor.detach() for name, tensor in state.items()}


def _load(path: Path, *, mapped: bool) -> Any:
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to those who write such files
            if mapped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:  # its own text advises to run the code
        raise WeightsError(
            f"{path}: not a file of tensors alone, and its code is not run{_unsafe(path)}; "
            "save the state dict alone"
        ) from None
    except Exception as error:  # a damaged pickle fails in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: not a complete file of torch.save with tensors ({reason})"
        ) from None


def _check_archive(path: Path) -> None:
    """Look at the parts of a zip archive before torch unpacks any.

    Raises:
        WeightsError: not of torch.save, or larger inside than outside.
    """
    try:
        with ZipFile(path) as archive:
            parts = archive.infolist()
    except (BadZipFile, OSError, ValueError, NotImplementedError, RecursionError) as error:
        raise WeightsError(f"{path}: not a complete file of torch.save ({error})") from None
    names = [part.filename for part in parts]
    if any(name.endswith("constants.pkl") for name in names):
        raise WeightsError(
            f"{path}: a TorchScript program, which is not run; need its state dict, saved alone"
        )
    if any(part.compress_type != ZIP_STORED for part in parts) or (
        sum(part.file_size for part in parts) > path.stat().st_size
    ):
        inside = sum(part.file_size for part in parts)
        raise WeightsError(
            f"{path}: a compressed archive that would unpack to {inside / 1e6:,.0f} MB; torch.save "
            f"does not compress. {_archive_advice(names)}"
        )
    described = [part for part in parts if part.filename.rpartition("/")[2] == "data.pkl"]
    if not described:
        raise WeightsError(
            f"{path}: a zip archive, no file of torch.save. {_archive_advice(names)}"
        )
    if described[0].file_size > MAX_PICKLE_BYTES:
        raise WeightsError(
            f"{path}: {described[0].file_size / 1e6:,.0f} MB describe its tensors; allowed are "
            f"{MAX_PICKLE_BYTES / 1e6:,.0f} MB"
        )


def _archive_advice(names: list[str]) -> str:
    if any(name.endswith(".npy") for name in names):
        return "It holds NumPy arrays; save them as .safetensors"
    first = next((name for name in names if name.endswith((".safetensors", ".pt", ".pth"))), None)
    return f"It holds {first}: unpack it" if first else "Unpack it, or download the weights again"


def _states(node: Any) -> Iterator[tuple[str, State]]:
    """(dotted path, tensors) of every dict of tensors inside what was loaded."""
    seen: set[int] = set()

    def walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, State]]:
        if not isinstance(node, Mapping) or id(node) in seen or len(path) > MAX_DEPTH:
            return
        seen.add(id(node))
        tensors = {str(k): v for k, v in node.items() if isinstance(v, Tensor)}
        if tensors:
            yield ".".join(path), tensors
        for key, child in node.items():
            if isinstance(key, str):
                yield from walk(child, (*path, key))

    states = list(walk(node, ()))
    # A tree of modules holds its parameters one by one: their names join to one state dict.
    if len(states) > 1 and not any("." in name for _, state in states for name in state):
        joined = {f"{path}.{name}".lstrip("."): t for path, s in states for name, t in s.items()}
        return iter([("", joined)])
    return iter(states)


def _check_tensor(path: Path, name: str, tensor: Tensor, file_bytes: int) -> None:
    """Refuse tensors without plain values: sparse, quantised or larger than their file.

    Raises:
        WeightsError: names the tensor.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise WeightsError(
            f"{path}: {name} is sparse, quantised or empty of data; need plain tensors"
        )
    if tensor.dtype not in CODES:
        raise WeightsError(
            f"{path}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, which is not "
            "supported; take the weights in fp8, fp16, bf16 or fp32"
        )
    if tensor.nbytes > file_bytes:
        raise WeightsError(
            f"{path}: {name} has shape {tuple(tensor.shape)}, which is more than the file's "
            f"{file_bytes:,} bytes hold"
        )


def _unsafe(path: Path) -> str:
    """Which classes a pickle wants, for the error."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        return ""
    unknown = sorted(set(names) - {"argparse.Namespace"})[:UNSAFE_SHOWN]
    return f" (it wants {', '.join(unknown)})" if unknown else ""


def _what(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        keys = ", ".join(str(key)[:20] for key in list(loaded)[:UNSAFE_SHOWN])
        return f"a dict without any ({keys})" if keys else "an empty dict"
    return f"a {type(loaded).__name__}"


@cache
def _announce(path: Path, chosen: str, others: str) -> None:
    """Say once which weights of a file are used."""
    beside = f"; it also holds {others}" if others else ""
    log.info("%s: taking the weights under `%s`%s", path, chosen, beside)
