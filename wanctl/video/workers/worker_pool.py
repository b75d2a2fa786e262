"""Runs functions on hostile files in processes that may hang, exhaust memory or crash.

A worker is a fresh interpreter that imports only the called function's module, so it starts in a
fraction of a second, never imports torch, and does not need the caller's `__main__` to be
importable. Tasks and results are pickled over the worker's stdin and stdout.
"""

import itertools
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from wanctl.credentials import snapshot
from wanctl.video.workers.ipc import ChannelClosedError, receive, send

# Replacing a worker after so many tasks bounds memory leaks of decoders; a restart costs 0.2 s.
TASKS_PER_WORKER = 256


@dataclass(frozen=True)
class Failure:
    """Reason why a task gave no result.

    Attributes:
        stage: name of the function that failed, e.g. `scan`.
        kind: `error` (it raised), `timeout`, `memory` (the cap was hit), `crash` (the process
            died), `unreachable` (its disk or server) or `unavailable` (a model or package is
            missing).
        message: one line.
    """

    stage: str
    kind: Literal["error", "timeout", "crash", "memory", "unreachable", "unavailable"]
    message: str


class _PoolTask:
    """A submitted task; `done` is set once `result` is valid."""

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        limit_s: float,
        retry: bool,
        index: int,
        finished: "queue.SimpleQueue[int]",
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.limit_s = limit_s
        self.retry = retry
        self._index = index
        self._finished = finished
        self.done = threading.Event()
        self.cancelled = False
        self.result: Any = None

    def finish(self, result: Any) -> None:
        self.result = result
        self.done.set()
        self._finished.put(self._index)


class DecodePool:
    """Worker processes with a time limit and a memory limit. A context manager.

    Args:
        workers: number of processes; each also uses a thread of this process.
        timeout_s: wall-clock seconds a task may take before its worker is killed, where `map` gets
            no `limit_s`.
        memory_bytes: address space a worker may map.
        tasks_per_worker: a worker is replaced after this many tasks.
    """

    def __init__(
        self,
        workers: int,
        timeout_s: float,
        memory_bytes: int,
        *,
        tasks_per_worker: int = TASKS_PER_WORKER,
    ) -> None:
        self.workers = workers
        self._timeout_s = timeout_s
        self._limits = _ProcessLimits(memory_bytes, tasks_per_worker)
        self._tasks: queue.SimpleQueue[_PoolTask | None] = queue.SimpleQueue()
        self._slots = [_WorkerSlot(self._limits) for _ in range(workers)]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers, also during a task. The pool cannot be used afterwards."""
        for slot in self._slots:
            slot.close()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def map(
        self,
        function: Callable[..., Any],
        tasks: Iterable[tuple[Any, ...]],
        *,
        limit_s: Callable[..., float] | None = None,
        ordered: bool = True,
        retry: bool = True,
    ) -> Iterator[tuple[int, Any]]:
        """Call `function(*task)` for every task; results come in the order of the tasks.

        At most twice as many tasks as there are workers are taken from `tasks` ahead of the one
        whose result is awaited, so memory is bounded however slow the caller is.

        Args:
            function: a module-level function of an importable module; it is pickled by name.
            tasks: its positional arguments, picklable; taken lazily.
            limit_s: `limit_s(*task)` is the time limit of a task; default: the pool's.
            ordered: False gives results as they finish, so that a long task delays no other.
            retry: whether a task whose worker died is tried once more; the cause may have been
                the machine, short of memory, and not the task.

        Yields:
            (index of the task, its result or a `Failure`).
        """
        if function.__module__ == "__main__":
            raise ValueError(f"{function.__name__} is in __main__, which workers cannot import")
        self._start()
        pending: dict[int, _PoolTask] = {}
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        source = enumerate(tasks)
        try:
            while True:
                for index, arguments in itertools.islice(source, 2 * self.workers - len(pending)):
                    limit = limit_s(*arguments) if limit_s else self._timeout_s
                    pending[index] = _PoolTask(function, arguments, limit, retry, index, finished)
                    self._tasks.put(pending[index])
                if not pending:
                    return
                index = next(iter(pending)) if ordered else finished.get()
                task = pending[index]
                task.done.wait()
                del pending[index]
                yield index, task.result
        finally:
            for task in pending.values():
                task.cancelled = True

    def _start(self) -> None:
        if self._threads:
            return
        for slot in self._slots:
            thread = threading.Thread(target=slot.serve, args=(self._tasks,), daemon=True)
            thread.start()
            self._threads.append(thread)


# Libraries that start threads of their own: the pool already has a worker per core.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}


@dataclass(frozen=True)
class _ProcessLimits:
    memory_bytes: int
    tasks_per_worker: int


class _WorkerSlot:
    """A slot for one worker process at a time, driven by one thread."""

    def __init__(self, limits: _ProcessLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._tasks_done = 0

    def serve(self, tasks: "queue.SimpleQueue[_PoolTask | None]") -> None:
        """Run tasks of the queue until None is received."""
        while (task := tasks.get()) is not None:
            task.finish(None if task.cancelled else self._result(task))
        self._retire()

    def close(self) -> None:
        """Kill the process now and start no other one."""
        with self._lock:
            self._closed = True
            if self._process:
                self._process.kill()

    def _result(self, task: _PoolTask) -> Any:
        result = self._run(task)
        if task.retry and isinstance(result, Failure) and result.kind == "crash":
            return self._run(task)
        return result

    def _run(self, task: _PoolTask) -> Any:
        stage = task.function.__name__
        try:
            process = self._worker()
        except (ChannelClosedError, OSError) as error:
            self._retire()
            return Failure(stage, "crash", f"a worker process did not start: {error}")
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(task.limit_s, expire)
        timer.daemon = True
        timer.start()
        try:
            send(process.stdin, (task.function, task.arguments))
            outcome, value = receive(process.stdout)
        except ChannelClosedError:
            return self._died(stage, task.limit_s if expired.is_set() else None)
        finally:
            timer.cancel()
        self._tasks_done += 1
        if expired.is_set() or self._tasks_done >= self._limits.tasks_per_worker:
            self._retire()
        return value if outcome == "ok" else Failure(stage, outcome, value)

    def _died(self, stage: str, limit_s: float | None) -> Failure:
        code = self._retire()
        if limit_s is not None:
            return Failure(stage, "timeout", f"no result after {limit_s:g} s")
        return Failure(stage, "crash", f"the decoder process died ({_exit_reason(code)})")

    def _worker(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [
                sys.executable,
                "-P",
                "-m",
                "wanctl.video.workers.worker_main",
                str(os.getpid()),
            ]
            with self._lock:
                if self._closed:
                    raise ChannelClosedError("the pool is closed")
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=_environment(),
                    # Ctrl-C reaches the terminal's group, and would interrupt a worker that has
                    # not come to ignore it yet; this process ends its workers
                    process_group=0,
                )
            self._tasks_done = 0
            start = (sys.path, self._limits.memory_bytes, snapshot())
            send(self._process.stdin, start)
            receive(self._process.stdout)
        return self._process

    def _retire(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        return code


def _environment() -> dict[str, str]:
    # -P keeps the working folder, which may hold a stray random.py, out of the import path; a
    # checkout that is not installed is found through PYTHONPATH.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    # BLAS reserves address space per core: too much for the limit on machines with many cores
    return {**os.environ, "PYTHONPATH": path, **ONE_THREAD}


def _exit_reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
