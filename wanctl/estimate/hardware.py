"""What the machine at hand has and how fast it is: memory, disk, operations per second.

Quick: GPUs are asked through nvidia-smi, which starts nothing on them, and the CPU's rate is
measured for half a second. GPU rates are those seen in published runs of these models, not peaks.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

PROBE_S = 0.5
# Of a sequential read from a local disk; a network disk is slower, a page cache quicker.
DISK_READ_BYTES_S = 1e9
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Throughput:
    """Operations and bytes per second.

    Attributes:
        products: matrix products of the transformer.
        attention: its attention.
        convolutions: of the VAE, in fp32.
        memory: bytes moved by what lies between products; None: counted in `overhead`.
        overhead: factor on the transformer's time where it is.
    """

    products: float
    attention: float
    convolutions: float
    memory: float | None = None
    overhead: float = 1.0


# By a part of nvidia-smi's name. H100 and H200: facts of hd128 kernels and products at these
# shapes; the others from the share of the peak that the official code reaches.
GPU_THROUGHPUT = {
    "H200": Throughput(680e12, 650e12, 70e12, 4.0e12),
    "H100": Throughput(680e12, 620e12, 70e12, 2.8e12),
    "A100": Throughput(230e12, 190e12, 50e12, 1.5e12),
    "RTX 4090": Throughput(140e12, 110e12, 35e12, 0.9e12),
    "L40": Throughput(130e12, 110e12, 35e12, 0.7e12),
}
UNKNOWN_GPU = Throughput(60e12, 50e12, 15e12, 0.6e12)


@dataclass(frozen=True)
class Hardware:
    """Where a sample is made.

    Attributes:
        name: of the GPU, or `CPU`.
        rates: see `Throughput`.
        host_bytes: memory that is free.
        device_bytes: of the GPU; None: computing happens on the host.
        disk_bytes: free where outputs go.
        known: the rates are of this device, not a guess.
        measured: there are rates.
    """

    name: str
    rates: Throughput
    host_bytes: float
    device_bytes: float | None
    disk_bytes: float
    known: bool = True
    measured: bool = True


def available_memory(device: torch.device) -> Hardware:
    """Free memory for a device, without rates."""
    nothing = Throughput(1.0, 1.0, 1.0)
    free = None
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    return Hardware(
        device.type, nothing, available_host_memory(), free, float("inf"), measured=False
    )


def detect_hardware(device: str, folder: Path) -> Hardware:
    """The machine for a device of the recipe (`auto`, `cpu`, `cuda`, `cuda:1`).

    Args:
        device: as in the recipe.
        folder: where outputs go; need not exist yet.
    """
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder).free
    index = int(device.partition(":")[2] or 0)
    gpus = [] if device == "cpu" else _gpus()
    if index < len(gpus):
        name, free = gpus[index]
        found = next((key for key in GPU_THROUGHPUT if key in name), None)
        rates = GPU_THROUGHPUT[found] if found else UNKNOWN_GPU
        return Hardware(name, rates, available_host_memory(), free, disk, known=found is not None)
    rate = matmul_rate()
    # Measured beside products: attention 0.95, the VAE's convolutions 1.4 because the count is
    # of the definition, and 6 % of a step between them.
    rates = Throughput(rate, 0.95 * rate, 1.4 * rate, overhead=1.06)
    return Hardware("CPU", rates, available_host_memory(), None, disk)


def available_host_memory() -> float:
    """Bytes that can still be had, within the limit of a container."""
    free = float("inf")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024.0
    else:
        free = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in map(Path, CGROUP_LIMITS):
        limit = path.read_text().strip() if path.exists() else ""
        if limit.isdigit():
            free = min(free, float(limit))
    return free


def matmul_rate(seconds: float = PROBE_S) -> float:
    """fp32 operations per second of this CPU's matrix products."""
    a = np.ones((1024, 1536), np.float32)
    b = np.ones((1536, 1024), np.float32)
    np.matmul(a, b)  # starts the threads
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / best


def _gpus() -> list[tuple[str, float]]:
    """(name, free bytes) of every GPU that nvidia-smi lists."""
    query = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, check=True, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if line.strip()]
    return [(name.strip(), float(free) * 2**20) for name, _, free in rows]
