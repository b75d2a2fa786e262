"""Tasks are functions of the standard library: a worker imports nothing else for them."""

import ctypes
import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wanctl.video.probe import scan
from wanctl.video.workers.worker_pool import DecodePool, Failure

GIGABYTE = 2**30


@pytest.fixture
def pool():
    with DecodePool(2, 20, 2 * GIGABYTE) as made:
        yield made


def test_results_come_in_the_order_of_the_tasks(pool):
    waits = [0.3, 0.0, 0.1, 0.0, 0.0]
    tasks = [(time.sleep, wait) for wait in waits]
    assert [i for i, _ in pool.map(operator.call, tasks)] == [0, 1, 2, 3, 4]
    assert [r for _, r in pool.map(math.sqrt, [(4,), (9,), (16,)])] == [2, 3, 4]


def test_tasks_are_taken_only_as_far_ahead_as_the_workers_need(pool):
    taken = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield (number,)

    results = pool.map(math.sqrt, tasks())
    next(results)
    time.sleep(0.2)
    assert len(taken) <= 5
    results.close()


def test_an_error_becomes_one_line_and_other_tasks_continue(pool, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("words\n" * 100)
    ((_, failed),) = pool.map(scan, [(bad,)])
    assert isinstance(failed, Failure)
    assert (failed.stage, failed.kind) == ("scan", "error")
    assert failed.message.startswith(f"{bad}: not a video")
    results = [r for _, r in pool.map(math.sqrt, [(-1,), (1,)])]
    assert (results[0].kind, results[0].message.split(":")[0]) == ("error", "ValueError")
    assert results[1] == 1


def test_a_hanging_task_is_stopped_and_its_worker_replaced():
    with DecodePool(1, 0.8, GIGABYTE) as pool:
        began = time.monotonic()
        results = [r for _, r in pool.map(time.sleep, [(60,), (0,)])]
    assert results == [Failure("sleep", "timeout", "no result after 0.8 s"), None]
    assert time.monotonic() - began < 10


def test_a_slow_caller_is_no_timeout():
    with DecodePool(1, 1.0, GIGABYTE) as pool:
        results = pool.map(bytes, [(3_000_000,)] * 3)
        sizes = []
        for _, result in results:
            time.sleep(1.3)
            sizes.append(len(result))
    assert sizes == [3_000_000] * 3


def test_a_crashing_task_is_reported_and_its_worker_replaced(pool):
    results = [r for _, r in pool.map(ctypes.string_at, [(0,), (b"fine",)])]
    assert results[0] == Failure("string_at", "crash", "the decoder process died (signal 11)")
    assert results[1] == b"fine"


def test_a_worker_that_was_killed_is_no_crash_of_the_task(pool, tmp_path):
    """Killed from outside, say by a machine short of memory: the task is retried once."""
    mark = tmp_path / "first"
    once = (
        f"__import__('os').kill(__import__('os').getpid(), 9) "
        f"if not __import__('os').path.exists({str(mark)!r}) "
        f"and not open({str(mark)!r}, 'w').close() else 'fine'"
    )
    assert [r for _, r in pool.map(eval, [(once,)])] == ["fine"]


def test_unordered_results_come_in_order_of_completion():
    with DecodePool(2, 20, GIGABYTE) as pool:
        waits = [(time.sleep, 1.5), (time.sleep, 0), (time.sleep, 0), (time.sleep, 0)]
        order = [i for i, _ in pool.map(operator.call, waits, ordered=False)]
    assert sorted(order) == [0, 1, 2, 3]
    assert order[-1] == 0


def test_a_task_may_have_a_time_limit_of_its_own():
    with DecodePool(1, 20, GIGABYTE) as pool:
        results = [r for _, r in pool.map(time.sleep, [(30,), (0,)], limit_s=lambda s: 0.8)]
    assert results == [Failure("sleep", "timeout", "no result after 0.8 s"), None]


def test_memory_is_limited(pool):
    results = [r for _, r in pool.map(bytearray, [(4 * GIGABYTE,), (3,)])]
    assert results == [Failure("bytearray", "memory", "reached the memory limit"), bytearray(3)]


def test_workers_are_replaced_after_a_number_of_tasks():
    with DecodePool(1, 20, GIGABYTE, tasks_per_worker=2) as pool:
        pids = [pid for _, pid in pool.map(os.getpid, [()] * 5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_workers_do_not_import_torch(pool, video):
    ((_, scanned),) = pool.map(scan, [(video,)])
    assert scanned.info.num_frames == 25
    loaded = [names for _, names in pool.map(eval, [("list(__import__('sys').modules)",)] * 4)]
    assert "wanctl.video.probe" in {name for names in loaded for name in names}
    for heavy in ("torch", "transformers", "pyarrow", "cv2"):
        assert all(heavy not in names for names in loaded)


def test_closing_ends_busy_workers():
    with DecodePool(1, 60, GIGABYTE) as pool:
        ((_, pid),) = pool.map(os.getpid, [()])
        threading.Thread(target=list, args=(pool.map(time.sleep, [(50,)]),), daemon=True).start()
        time.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_killing_the_parent_ends_the_workers():
    script = (
        "import os, sys, time\n"
        "from wanctl.video.workers.worker_pool import DecodePool\n"
        "pool = DecodePool(2, 600, 2**31)\n"
        "for _, pid in pool.map(os.getpid, [()] * 2):\n"
        "    print(pid, flush=True)\n"
        "print('busy', flush=True)\n"
        "list(pool.map(time.sleep, [(500,)] * 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert parent.stdout.readline() == "busy\n"
    time.sleep(0.3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
