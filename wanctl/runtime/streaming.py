"""Transformers larger than the device: blocks stay in host memory and are copied in turn.

A ring of slots on the device holds a few blocks. While one block computes, the next is copied on a
CUDA stream of its own; when a block is done, its slot goes to the first block that is not on the
device. A 14B block is 0.7 GB in bf16: copying takes 13 ms and computing 65 ms at 480x832x81, so
the copies are hidden. In host memory each block is one range of pinned memory, which makes it one
copy.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from wanctl.model.dit.transformer import WanModel

SLOTS = 2
# Tensors start at multiples of this in a block's memory; device memory is aligned to it as well.
ALIGN_BYTES = 256
# Host memory allocated at once; until it is filled, its blocks exist twice.
LARGEST_BYTES = 4 * 2**30
_RECOMPUTING = ContextVar("recomputing", default=False)


class Transfer(Protocol):
    """Memory on host and device, and the order of copies and computation."""

    def host_bytes(self, size: int) -> Tensor:
        """Memory on the host, (size,) uint8."""
        ...

    def device_bytes(self, size: int) -> Tensor:
        """Memory on the device, (size,) uint8."""
        ...

    def send(self, slot: int, host: Tensor, device: Tensor) -> None:
        """Start a copy after the work before this slot's last `release` is done."""
        ...

    def wait(self, slot: int) -> None:
        """Make computation wait until the slot's copy has arrived."""
        ...

    def release(self, slot: int) -> None:
        """Mark the work queued so far as the last that reads this slot."""
        ...


class CudaTransfer:
    """A `Transfer` with pinned host memory and a CUDA stream for copies."""

    def __init__(self, device: torch.device, slots: int = SLOTS) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._arrived = [torch.cuda.Event() for _ in range(slots)]
        self._done = [torch.cuda.Event() for _ in range(slots)]

    def host_bytes(self, size: int) -> Tensor:
        """Pinned memory: only from there a copy runs in parallel with computation."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def device_bytes(self, size: int) -> Tensor:
        """Device memory that the copy stream may write."""
        memory = torch.empty(size, dtype=torch.uint8, device=self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        return memory

    def send(self, slot: int, host: Tensor, device: Tensor) -> None:
        """Copy on the copy stream."""
        self._stream.wait_event(self._done[slot])  # no wait where it was never recorded
        with torch.cuda.stream(self._stream):
            device.copy_(host, non_blocking=True)
            self._arrived[slot].record()

    def wait(self, slot: int) -> None:
        """Make the current stream wait for the copy; the program does not block."""
        torch.cuda.current_stream(self._device).wait_event(self._arrived[slot])

    def release(self, slot: int) -> None:
        """Record an event on the current stream."""
        self._done[slot].record(torch.cuda.current_stream(self._device))


def stream_blocks(
    model: WanModel,
    device: torch.device,
    transfer: Transfer | None = None,
    slots: int = SLOTS,
    *,
    trained: bool = False,
) -> WanModel:
    """Keep the blocks' weights on the host and copy them to the device as they are needed.

    The prompts' keys and values are computed at every step (0.5 % of a step at 480x832x81), because
    precomputing them would copy all blocks once more.

    Gradients flow through streamed weights where each block is checkpointed and its recomputation
    runs inside `recomputing`: a block's copy is overwritten once the block before is recomputed.

    Args:
        model: on the host, ready to run: cast, quantised, with its LoRAs. Weights outside the
            blocks move to the device.
        device: where it runs.
        transfer: for tests; CudaTransfer by default.
        slots: number of blocks on the device at once, at least 2.
        trained: whether weights that require a gradient, such as an adapter's, are trained; they
            stay on the device.

    Returns:
        The same model. Its attribute `streamed` is true.
    """
    transfer = CudaTransfer(device, slots) if transfer is None else transfer
    control = list(getattr(model, "vace_blocks", ()))
    # in the order they run; those that are trained as a whole are on the device
    tensors_of = {block: _tensors(block, trained=trained) for block in (*control, *model.blocks)}
    blocks = [block for block, tensors in tensors_of.items() if tensors]
    streamed = [tensors_of[block] for block in blocks]
    for tensor in _resident_tensors(model, trained=trained):
        tensor.data = tensor.data.to(device)
    memory = _host_memory([_size(tensors) for tensors in streamed], transfer)
    host_blocks = [_HostBlock(*pair) for pair in zip(streamed, memory, strict=True)]
    ring = _Ring(host_blocks, transfer, slots)
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(ring.enter(number))
        block.register_forward_hook(ring.leave(number), always_call=True)
    model.can_precompute_cross_attention = False
    model.streamed = True
    return model


@contextmanager
def recomputing() -> Iterator[None]:
    """Inside, a streamed block runs once more for its backward pass, which follows at once."""
    token = _RECOMPUTING.set(True)
    try:
        yield
    finally:
        _RECOMPUTING.reset(token)


def _tensors(block: nn.Module, *, trained: bool) -> list[Tensor]:
    """A block's weights, without those of VACE's projections, which run outside of it."""
    return [
        tensor
        for name, tensor in _named_tensors(block)
        if not (_is_vace_projection(name) or (trained and tensor.requires_grad))
    ]


def _resident_tensors(model: WanModel, *, trained: bool) -> Iterator[Tensor]:
    """The weights that stay on the device: outside the blocks, VACE's projections, trained ones."""
    for name, tensor in _named_tensors(model):
        container, _, rest = name.partition(".")
        inside = container == "blocks"
        if container == "vace_blocks":
            inside = not _is_vace_projection(rest.partition(".")[2])
        if not inside or (trained and tensor.requires_grad):
            yield tensor


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _is_vace_projection(name: str) -> bool:
    """Whether a tensor of this name in a block belongs to `VaceBlock`'s projections."""
    return name.startswith(("before_proj.", "after_proj."))


def _host_memory(sizes: Sequence[int], transfer: Transfer) -> Iterator[Tensor]:
    """Memory for each block, allocated when it is asked for."""
    first = 0
    while first < len(sizes):
        together = sizes[first : first + _blocks_per_allocation(sizes[first:])]
        yield from transfer.host_bytes(sum(together)).split(together)
        first += len(together)


def _blocks_per_allocation(sizes: Sequence[int]) -> int:
    """How many of the next blocks to allocate together.

    torch rounds pinned memory up to a power of two. A block of the 14B model (0.70 GB) would take
    1.07 GB alone; three take 2.15. So the model takes 29 GB instead of 43.
    """
    best, least, total = 1, float("inf"), 0
    for count, size in enumerate(sizes, start=1):
        total += size
        taken = 1 << (total - 1).bit_length()
        if count > 1 and taken > LARGEST_BYTES:
            break
        if taken / total < least:
            best, least = count, taken / total
    return best


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(_aligned(tensor) for tensor in tensors)


def _aligned(tensor: Tensor) -> int:
    return -(-tensor.nbytes // ALIGN_BYTES) * ALIGN_BYTES


class _HostBlock:
    """The tensors of one block, stored contiguously in `memory` on the host."""

    def __init__(self, tensors: Sequence[Tensor], memory: Tensor) -> None:
        self._tensors = tensors
        self._starts = [0, *accumulate(_aligned(tensor) for tensor in tensors)][:-1]
        self.bytes = memory
        self._shapes = [(tensor.dtype, tensor.shape) for tensor in tensors]
        for tensor, view in zip(tensors, self._views(self.bytes), strict=True):
            view.copy_(tensor.data)
        self.point_to(self.bytes)  # frees the block's old memory

    def point_to(self, memory: Tensor) -> None:
        """Make the block use its weights in `memory`, a copy of `bytes`."""
        for tensor, view in zip(self._tensors, self._views(memory), strict=True):
            tensor.data = view

    def _views(self, memory: Tensor) -> Iterator[Tensor]:
        for start, (dtype, shape) in zip(self._starts, self._shapes, strict=True):
            size = shape.numel() * dtype.itemsize
            yield memory[start : start + size].view(dtype).view(shape)


class _Ring:
    """Which block is, or will be, in which slot."""

    def __init__(self, blocks: Sequence[_HostBlock], transfer: Transfer, slots: int) -> None:
        self._blocks = blocks
        self._transfer = transfer
        largest = max((block.bytes.numel() for block in blocks), default=0)
        self._slots = [transfer.device_bytes(largest) for _ in range(slots)]
        self._holds: list[int | None] = [None] * slots
        self._read: set[int] = set()  # slots that computation may still be reading

    def enter(self, number: int) -> Any:
        """The forward pre-hook of block `number`: wait for its copy and use it."""

        @_disable_current_modes()  # selective checkpointing would count these copies as the block's
        def before(*_: Any) -> None:
            if number not in self._holds:  # the first call, or the call before was interrupted
                step = -1 if _RECOMPUTING.get() else 1
                for ahead in range(min(len(self._slots), len(self._blocks))):
                    self._fetch((number + step * ahead) % len(self._blocks), ahead)
            slot = self._holds.index(number)
            self._transfer.wait(slot)
            self._read.add(slot)
            self._blocks[number].point_to(self._slots[slot])
            if _RECOMPUTING.get():
                self._fetch_lower(number)

        return before

    def leave(self, number: int) -> Any:
        """The forward hook of block `number`: free its slot for the next block."""

        @_disable_current_modes()
        def after(block: nn.Module, *_: Any) -> None:
            if _RECOMPUTING.get():
                return  # the backward pass of this block reads it next
            slot = self._holds.index(number)
            self._blocks[number].point_to(self._blocks[number].bytes)
            self._release(slot)
            following = number + len(self._slots)
            if following >= len(self._blocks) and block.training and torch.is_grad_enabled():
                return  # the backward pass begins with the last blocks
            following %= len(self._blocks)
            if following not in self._holds:
                self._fetch(following, slot)

        return after

    def _fetch_lower(self, number: int) -> None:
        """Put lower blocks into the slots of higher ones than `number`, which are done."""
        for slot, held in enumerate(self._holds):
            if held is not None and held <= number:
                continue
            lower = [n for n in range(number) if n not in self._holds]
            if not lower:
                return  # the next forward pass begins with what the slots hold
            self._fetch(lower[-1], slot)

    def _release(self, slot: int) -> None:
        if slot in self._read:
            self._read.remove(slot)
            self._transfer.release(slot)

    def _fetch(self, number: int, slot: int) -> None:
        if (held := self._holds[slot]) is not None:
            self._blocks[held].point_to(self._blocks[held].bytes)
        self._release(slot)
        host = self._blocks[number].bytes
        self._holds[slot] = number
        self._transfer.send(slot, host, self._slots[slot][: host.numel()])
