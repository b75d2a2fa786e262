"""The device and the number format that a command runs with."""

import gc

import torch

from wanctl.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device of this machine.

    Raises:
        UserError: the name is not a device, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device: got {name!r}; allowed are auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: got {name!r}; allowed are auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device: got {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices; "
            "choose `cpu` or `auto`"
        )
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto`, `fp32`, `bf16` or `fp16` into a dtype; `auto` is bf16 on CUDA, fp32 on CPU.

    bf16 is slower than fp32 on CPUs without AMX (measured 0.53x for Linear), hence fp32 there.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[name]


def free_device_memory(device: torch.device) -> None:
    """Return the memory of unreferenced tensors to the device, and pinned memory to the host."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        # torch also caches the pinned memory of streamed blocks, 29 GB for 14B; older releases
        # have no public way to free it.
        if hasattr(torch.accelerator, "empty_host_cache"):
            torch.accelerator.empty_host_cache()


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from the CPU without waiting for what the device still computes.

    A copy from pageable memory first waits for everything that was queued on the GPU.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
