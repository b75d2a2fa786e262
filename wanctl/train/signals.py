"""Signals end a training run after the current step, with a checkpoint."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from wanctl.errors import TerminatedError
from wanctl.log import log

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C, the request of a scheduler to end, the end of a terminal."""


class StopRequest:
    """Inside the `with`, the first signal sets `requested`; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._number = signal.SIGINT
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        # Python delivers signals to the main thread only; elsewhere handlers cannot be set.
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                # `nohup` and shells that start jobs in the background have some of them ignored
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def exception(self) -> KeyboardInterrupt:
        """What a run that stopped for the signal raises; the command's exit code follows from it.

        Returns:
            KeyboardInterrupt after Ctrl-C, TerminatedError after another signal.
        """
        if self._number == signal.SIGINT:
            return KeyboardInterrupt()
        return TerminatedError(self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._number = signal.Signals(number)
        self.requested = True
        log.info("stopping after this step; a checkpoint will be written")
