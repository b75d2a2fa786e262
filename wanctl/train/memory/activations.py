"""Activations in host memory between the forward and the backward pass.

Whatever autograd keeps is copied to the host as soon as it is kept, and copied back in the reverse
order, two tensors before the backward pass needs it. Of checkpointed blocks these are their inputs:
a 14B block at 480x832x81 computes for some 65 ms in bf16, and its input of 670 MB takes 12 ms at
55 GB/s.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from wanctl.train.memory.host import HostCopies

SMALLEST_BYTES = 2**20  # what is smaller stays: starting a copy takes some 20 us
AHEAD = 2  # tensors that are copied back before they are needed


def offload_activations(
    model: nn.Module, copies: HostCopies, smallest_bytes: int = SMALLEST_BYTES
) -> None:
    """Keep what the forward pass of `model` keeps for gradients on the host, in place.

    Args:
        model: whose parameters and buffers stay where they are.
        copies: between its device and the host.
        smallest_bytes: smaller tensors stay.
    """
    contexts: list[Any] = []

    def enter(module: nn.Module, _args: Any) -> None:
        if module.training and torch.is_grad_enabled():
            resident = (*module.parameters(), *module.buffers())
            kept = _KeptTensors(copies, smallest_bytes, resident)
            contexts.append(torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack))
            contexts[-1].__enter__()

    def leave(*_: Any) -> None:
        if contexts:
            contexts.pop().__exit__()

    model.register_forward_pre_hook(enter)
    model.register_forward_hook(leave, always_call=True)


class _KeptTensor:
    """One tensor that autograd keeps, on the host until it is fetched.

    Attributes:
        readers: operations whose backward pass is still to read it.
    """

    def __init__(self, tensor: Tensor, copies: HostCopies) -> None:
        self._copies = copies
        self._host, self._arrival = copies.to_host(tensor)
        self._device: Tensor | None = None
        self.readers = 1

    def fetch(self) -> None:
        """Start the copy back to the device."""
        if self._device is None:
            self._device, self._arrival = self._copies.to_device(self._host, self._arrival)

    def read(self) -> Tensor:
        """The tensor on the device; after its last reader it is not held there any longer."""
        self.fetch()
        self._arrival.wait()
        tensor = self._device
        assert tensor is not None
        self.readers -= 1
        if self.readers <= 0:
            self._device = None
        return tensor


class _KeptTensors:
    """The kept tensors of one forward pass, in the order in which it kept them."""

    def __init__(self, copies: HostCopies, smallest: int, resident: Iterable[Tensor]) -> None:
        self._copies = copies
        self._smallest = smallest
        self._resident = {tensor.untyped_storage().data_ptr() for tensor in resident}
        self._kept: list[_KeptTensor] = []
        self._known: dict[tuple[Any, ...], tuple[StorageWeakRef, int]] = {}

    def pack(self, tensor: Tensor) -> Tensor | int:
        """Send a tensor to the host; parameters, parts of tensors and small ones stay."""
        storage = tensor.untyped_storage()
        stays = (
            tensor.nbytes < self._smallest
            or tensor.nbytes != storage.nbytes()
            or storage.data_ptr() in self._resident
        )
        if stays:
            return tensor
        # queries, keys and values keep the same input, for example
        key = (storage.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor._version)
        weak, number = self._known.get(key, (None, -1))
        if weak is not None and not weak.expired():
            self._kept[number].readers += 1
            return number
        self._kept.append(_KeptTensor(tensor.detach(), self._copies))
        self._known[key] = (StorageWeakRef(storage), len(self._kept) - 1)
        return len(self._kept) - 1

    def unpack(self, packed: Tensor | int) -> Tensor:
        """The tensor, on the device; starts the copies of those that are needed next."""
        if isinstance(packed, Tensor):
            return packed
        tensor = self._kept[packed].read()
        for number in range(packed - 1, max(-1, packed - 1 - AHEAD), -1):
            if self._kept[number].readers > 0:
                self._kept[number].fetch()
        return tensor
