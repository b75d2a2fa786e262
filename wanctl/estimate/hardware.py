"""Free memory, free disk space and speed of this machine.

Takes about half a second: GPUs are queried through nvidia-smi, which creates no context on them,
and the CPU's rate is measured. GPU rates come from published runs of these models, not from peaks.
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
# Sequential read from a local disk; a network disk is slower, the page cache faster.
DISK_READ_BYTES_S = 1e9
# Folder of a container's own cgroup; the files that hold its limit and its use; the entry of
# memory.stat that holds page cache which the kernel takes back before it refuses memory.
CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Throughput:
    """Speed of a device, in operations and bytes per second.

    Attributes:
        products: matrix products of the transformer.
        attention: attention of the transformer.
        convolutions: convolutions of the VAE, in fp32.
        memory: bytes per second of the element-wise operations; None: included in `overhead`.
        overhead: factor on the transformer's time.
    """

    products: float
    attention: float
    convolutions: float
    memory: float | None = None
    overhead: float = 1.0


# Keyed by a part of the name that nvidia-smi prints. H100 and H200: measured kernels with head
# width 128 and products of these shapes; the others: the share of peak of the official code.
GPU_THROUGHPUT = {
    "H200": Throughput(680e12, 650e12, 70e12, 4.0e12),
    "H100": Throughput(680e12, 620e12, 70e12, 2.8e12),
    "A100": Throughput(230e12, 190e12, 50e12, 1.5e12),
    "RTX 4090": Throughput(140e12, 110e12, 35e12, 0.9e12),
    "L40": Throughput(130e12, 110e12, 35e12, 0.7e12),
}
# Dense products in bf16 by their data sheets, for the share of it that training reaches. The first
# entry that is part of the name counts.
GPU_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "RTX 4090": 165e12,
    "A10G": 70e12,
}
UNKNOWN_GPU = Throughput(60e12, 50e12, 15e12, 0.6e12)


@dataclass(frozen=True)
class Hardware:
    """The device and the machine that a workload runs on.

    Attributes:
        name: name of the GPU, or `CPU`.
        rates: speed of the device.
        host_bytes: available host memory.
        device_bytes: free GPU memory; None: the CPU computes.
        disk_bytes: free disk space in the output folder.
        known: the rates belong to this device; False: a guess.
        measured: `rates` are valid; False: only memory is known.
    """

    name: str
    rates: Throughput
    host_bytes: float
    device_bytes: float | None
    disk_bytes: float
    known: bool = True
    measured: bool = True


def available_memory(device: torch.device) -> Hardware:
    """Available memory for a device, without rates."""
    no_rates = Throughput(1.0, 1.0, 1.0)
    free = None
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    return Hardware(
        device.type, no_rates, available_host_memory(), free, float("inf"), measured=False
    )


def detect_hardware(device: str, folder: Path) -> Hardware:
    """Detect memory, disk and speed for a device of the recipe.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        folder: of the outputs; need not exist yet.
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
    # Measured relative to products: attention 0.95; convolutions of the VAE 1.4, since FLOPs are
    # counted by definition; element-wise operations take 6 % of a step.
    rates = Throughput(rate, 0.95 * rate, 1.4 * rate, overhead=1.06)
    return Hardware("CPU", rates, available_host_memory(), None, disk)


def peak_rate(device: torch.device) -> float | None:
    """Operations per second of dense bf16 products by the data sheet; None: not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for part, rate in GPU_PEAKS.items() if part in name), None)


def available_host_memory() -> float:
    """Bytes that a process can still allocate, within the limit of its container."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024.0
    else:
        available = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder, limit, usage, cache in CGROUPS:
        available = min(available, _cgroup_memory(Path(folder), limit, usage, cache))
    return available


def _cgroup_memory(folder: Path, limit: str, usage: str, cache: str) -> float:
    """Bytes that a control group leaves: its limit minus its use, without reclaimable page cache.

    Args:
        folder: of the group.
        limit: file with the limit in bytes, or `max`.
        usage: file with the bytes in use, page cache included.
        cache: entry of memory.stat with the page cache that can be reclaimed.

    Returns:
        0 or more; infinity where the group or its limit is missing.
    """
    most, used, stat = (_read(folder / name) for name in (limit, usage, "memory.stat"))
    if not most.isdigit():
        return float("inf")
    entries = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    in_use = int(used) if used.isdigit() else 0
    return float(max(0, int(most) - max(0, in_use - int(entries.get(cache, 0)))))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def matmul_rate(seconds: float = PROBE_S) -> float:
    """Measured fp32 operations per second of this CPU's matrix products."""
    a = np.ones((1024, 1536), np.float32)
    b = np.ones((1536, 1024), np.float32)
    np.matmul(a, b)  # warm-up: starts the threads
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
