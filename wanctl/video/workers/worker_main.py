"""Main module of a worker process: `python -m wanctl.video.workers.worker_main PARENT_PID`.

`worker_pool.DecodePool` starts it; it is not called by hand.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

from wanctl.credentials import restore
from wanctl.errors import UserError, failure_kind
from wanctl.redact import redact
from wanctl.video.workers.ipc import ChannelClosedError, receive, send

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run tasks from stdin and write results to stdout until stdin ends or the parent dies."""
    _end_with(int(sys.argv[1]))
    # Ctrl-C reaches the whole terminal group; the parent ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the messages
    try:
        paths, memory_bytes, credentials = receive(sys.stdin.buffer)
        sys.path[:] = paths
        restore(credentials)
        _limit_memory(memory_bytes)
        send(results, "ready")
        while True:
            _answer(results, _call())
    except ChannelClosedError:
        return


def _call() -> tuple[str, Any]:
    try:
        function, arguments = receive(sys.stdin.buffer)  # imports the function's module
        return "ok", function(*arguments)
    except ChannelClosedError:
        raise
    except MemoryError:
        return "memory", "reached the memory limit"
    except UserError as error:
        return failure_kind(error), _one_line(str(error))
    except Exception as error:  # an exception of a decoder is recorded in the quarantine
        return failure_kind(error), _one_line(f"{type(error).__name__}: {error}")


def _answer(results: Any, reply: tuple[str, Any]) -> None:
    try:
        send(results, reply)
    except MemoryError:  # the result itself did not fit
        send(results, ("memory", "reached the memory limit"))


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _end_with(parent: int) -> None:
    """End this process when the parent ends, even by `kill -9` and during decoding."""
    if sys.platform == "linux":
        # the kernel does it, also while a decoder holds the interpreter lock
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _one_line(text: str) -> str:
    return redact(" ".join(text.split())) or "no message"


if __name__ == "__main__":
    main()
