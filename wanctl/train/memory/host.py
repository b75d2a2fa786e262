"""Copies between the device and host memory that run beside computation."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Arrival(Protocol):
    """The end of a copy."""

    def wait(self) -> None:
        """Make the computation that is queued from here on wait for it."""
        ...


class HostCopies(Protocol):
    """Copies to the host and back; their sources may be freed as soon as the calls return."""

    def to_host(self, tensor: Tensor) -> tuple[Tensor, Arrival]:
        """Start a copy to the host after the work that was queued before."""
        ...

    def to_device(self, host: Tensor, after: Arrival) -> tuple[Tensor, Arrival]:
        """Start a copy of `to_host`'s result back to the device."""
        ...

    def finish(self) -> None:
        """Block the program until all copies are done."""
        ...


class CudaCopies:
    """Copies on a stream of their own, in pinned memory: only from there they run in parallel."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def to_host(self, tensor: Tensor) -> tuple[Tensor, "_CudaArrival"]:
        """Start a copy to pinned memory."""
        host = torch.empty_strided(
            tensor.size(), tensor.stride(), dtype=tensor.dtype, pin_memory=True
        )
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            host.copy_(tensor, non_blocking=True)
        tensor.record_stream(self._stream)  # the allocator keeps the memory until the copy is done
        return host, self._arrival()

    def to_device(self, host: Tensor, after: Arrival) -> tuple[Tensor, "_CudaArrival"]:
        """Start a copy to new device memory."""
        with torch.cuda.stream(self._stream):
            after.wait()
            tensor = torch.empty_strided(
                host.size(), host.stride(), dtype=host.dtype, device=self._device
            )
            tensor.copy_(host, non_blocking=True)
        tensor.record_stream(torch.cuda.current_stream(self._device))
        return tensor, self._arrival()

    def finish(self) -> None:
        """Block until the stream is idle."""
        self._stream.synchronize()

    def _arrival(self) -> "_CudaArrival":
        event = torch.cuda.Event()
        event.record(self._stream)
        return _CudaArrival(event, self._device)


class _CudaArrival:
    def __init__(self, event: Any, device: torch.device) -> None:
        self._event = event
        self._device = device

    def wait(self) -> None:
        """Make the current stream wait; the program does not block."""
        torch.cuda.current_stream(self._device).wait_event(self._event)


class NoCopies:
    """On the CPU, which is the host: nothing is copied."""

    def to_host(self, tensor: Tensor) -> tuple[Tensor, "NoCopies"]:
        """The tensor itself."""
        return tensor, self

    def to_device(self, host: Tensor, after: Arrival) -> tuple[Tensor, "NoCopies"]:  # noqa: ARG002
        """The tensor itself."""
        return host, self

    def finish(self) -> None:
        """Nothing to wait for."""

    def wait(self) -> None:
        """Nothing to wait for."""


def copies_for(device: torch.device) -> HostCopies:
    """Copies between `device` and the host."""
    return CudaCopies(device) if device.type == "cuda" else NoCopies()
