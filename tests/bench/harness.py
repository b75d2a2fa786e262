"""Timing and memory for the benchmarks: arms alternated in one process, medians, ratios.

Absolute times mean little on a shared machine; ratios of alternating arms mean more.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Arm = Callable[[], object]


def compare(name: str, arms: Mapping[str, Arm], repeats: int = 5) -> dict[str, float]:
    """Time several implementations of one operation, alternating between them.

    Every arm runs once to warm up. Then the arms alternate, in reverse order every other round, so
    that a slow phase of the machine affects all of them.

    Returns:
        `NAME.ARM_s`, the median time of every arm in seconds, and `NAME.times_as_fast`, the median
        over the rounds of the last arm's time divided by the first arm's.
    """
    for function in arms.values():
        function()
    rounds = [_time_once(arms, backwards=bool(repeat % 2)) for repeat in range(repeats)]
    figures = {
        f"{name}.{arm}_s": round(statistics.median(times[arm] for times in rounds), 4)
        for arm in arms
    }
    first, *_, last = arms
    ratio = statistics.median(times[last] / times[first] for times in rounds)
    return {**figures, f"{name}.times_as_fast": round(ratio, 3)}


def _time_once(arms: Mapping[str, Arm], *, backwards: bool) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for arm in reversed(list(arms)) if backwards else arms:
        start = time.perf_counter()
        arms[arm]()
        seconds[arm] = time.perf_counter() - start
    return seconds


# glibc keeps freed memory of up to 32 MB for itself; this returns all tensors, so that resident
# memory is what is in use.
RETURNS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(256 * 1024)}


def peak_rss(
    module: str, function: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> int:
    """Run `function(*arguments)` of a benchmark module in a new process; its peak RSS in bytes.

    Args:
        module: the benchmark's file, without its suffix.
        function: in it.
        arguments: of the function.
        environment: variables that the process has besides those of this one.
    """
    return _run_apart(module, function, *arguments, environment=environment)["peak_rss_bytes"]


def run_apart(module: str, function: str, *arguments: str) -> dict[str, float]:
    """What `function(*arguments)` of a benchmark module returns, run in a new process.

    glibc keeps much of what a process has freed: five pairs of models in one took 21 GB.
    """
    return _run_apart(module, function, *arguments)["returned"]


def _run_apart(
    module: str, function: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    command = [sys.executable, __file__, module, function, *arguments]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    return json.loads(done.stdout.splitlines()[-1])


def own_peak_rss_bytes() -> int:
    """Peak RSS of this process: VmHWM, because ru_maxrss also counts the parent before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM; peak memory is measured on Linux only")


def machine() -> dict[str, str | int]:
    """The machine that the figures were measured on."""
    cpus = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in cpus.splitlines() if "model name" in line]
    return {
        "cpu": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _run_and_report(module: str, function: str, *arguments: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    returned = getattr(__import__(module), function)(*arguments)
    peak = own_peak_rss_bytes()
    print(json.dumps({"peak_rss_bytes": peak, "returned": returned}, default=lambda _: None))


if __name__ == "__main__":
    _run_and_report(*sys.argv[1:])
