"""Main module of the process that measures what a VAE costs; `cost.measure_cost` starts it."""

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wanctl.errors import UserError, is_out_of_memory
from wanctl.eval.vae.networks import TinyDecodedVAE, load_network
from wanctl.model.vae.autoencoder import WanVAE

# Short work is repeated until it has taken so long, and the best time counts.
MEASURED_S, MAX_REPEATS = 1.0, 5
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> int:
    """Read a task from stdin, write its cost to stdout; one line on stderr where it fails."""
    try:
        task = json.load(sys.stdin)
        result = measure(task)
    except UserError as error:
        sys.stderr.write(f"{error.lines[0]}\n")
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write("out of memory; choose a smaller --size, fewer --frames or --chunked\n")
        return 2
    sys.stdout.write(json.dumps(result))
    return 0


@torch.inference_mode()
def measure(task: dict[str, Any]) -> dict[str, Any]:
    """The cost of one task, see `cost.Cost`."""
    device, dtype = torch.device(task["device"]), getattr(torch, task["dtype"])
    vae = load_network(task["ref"], task["decoder_ref"], dtype, device)
    chunked, shape = task["chunked"], tuple(task["shape"])
    meter = _CudaMemory(device) if device.type == "cuda" else _ProcessMemory()
    _warm_up(vae, device)
    generator = torch.Generator().manual_seed(0)
    video = (torch.rand((1, 3, *shape), generator=generator) * 2 - 1).to(device)
    latents = vae.encode(video, chunked=chunked) if device.type == "cuda" else None
    if latents is not None:  # kernels are chosen at the first call of each size
        vae.decode(latents, chunked=chunked)
    encode = _timed(lambda: vae.encode(video, chunked=chunked), meter)
    decode = _timed(lambda: vae.decode(encode[2], chunked=chunked), meter)
    return {
        "shape": list(shape),
        "chunked": chunked,
        "encode_s": encode[0],
        "decode_s": decode[0],
        "encode_bytes": encode[1],
        "decode_bytes": decode[1],
        "hardware": meter.hardware,
    }


class _ProcessMemory:
    """Peak resident memory of this process; Linux only, elsewhere None."""

    hardware = f"CPU, {torch.get_num_threads()} threads"

    def synchronize(self) -> None:
        """Nothing runs in the background."""

    def reset(self) -> None:
        """Begin a new peak at what is resident now."""
        self._start: int | None = None
        # freed memory that the allocator keeps would be used again, and not be counted
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            _CLEAR.write_text("5")  # resets VmHWM
        except OSError:
            return
        self._start = self._read("VmRSS")

    def peak(self) -> int | None:
        """Bytes above those at `reset`."""
        return None if self._start is None else max(0, self._read("VmHWM") - self._start)

    def _read(self, name: str) -> int:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return int(value) * 1024


class _CudaMemory:
    """Peak of the tensors on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.hardware = torch.cuda.get_device_name(device)

    def synchronize(self) -> None:
        """Wait for what is queued."""
        torch.cuda.synchronize(self._device)

    def reset(self) -> None:
        """Begin a new peak at what is allocated now."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._start = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int | None:
        """Bytes above those at `reset`."""
        return torch.cuda.max_memory_allocated(self._device) - self._start


def _timed(
    function: Callable[[], Tensor], meter: _ProcessMemory | _CudaMemory
) -> tuple[float, int | None, Tensor]:
    """(best seconds, peak bytes of the first call, its result)."""
    meter.synchronize()
    meter.reset()
    started = time.perf_counter()
    result = function()
    meter.synchronize()
    times = [time.perf_counter() - started]
    peak = meter.peak()
    while sum(times) < MEASURED_S and len(times) < MAX_REPEATS:
        started = time.perf_counter()
        function()
        meter.synchronize()
        times.append(time.perf_counter() - started)
    return min(times), peak, result


def _warm_up(vae: WanVAE | TinyDecodedVAE, device: torch.device) -> None:
    """Load kernels and start threads with the smallest video that touches every layer."""
    side = 2 * vae.spatial_stride
    tiny = torch.zeros(1, 3, 1 + vae.temporal_stride, side, side, device=device)
    vae.decode(vae.encode(tiny))


if __name__ == "__main__":
    sys.exit(main())
