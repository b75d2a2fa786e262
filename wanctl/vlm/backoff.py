"""Pauses between the attempts of a request: growing, random, and as long as a server asks for."""

import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

FIRST_S = 0.5
LONGEST_S = 60.0


class Backoff:
    """Pauses of all requests to one server; threads may share it.

    The nth pause is drawn between half and all of FIRST_S * 2^n, at most LONGEST_S, so that
    requests that failed together are not repeated together. A server that says how long to wait is
    spared by all requests for that time.

    Args:
        sleep: waits for some seconds.
        clock: seconds that never go back.
        now: seconds since 1970, for servers that say until when to wait.
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._sleep, self._clock, self._now = sleep, clock, now
        self._random = random.Random()
        self._resume = 0.0

    def pause(self, attempt: int) -> None:
        """Wait after attempt number `attempt`, from 0."""
        self._sleep(min(FIRST_S * 2**attempt, LONGEST_S) * self._random.uniform(0.5, 1.0))

    def hold(self, seconds: float) -> None:
        """Let no request begin for some seconds."""
        self._resume = max(self._resume, self._clock() + seconds)

    def wait_for_hold(self) -> None:
        """Wait until requests may begin; not all begin at that moment."""
        left = self._resume - self._clock()
        if left > 0:
            self._sleep(left + self._random.uniform(0, min(1.0, 0.1 * left)))

    def requested_s(self, headers: Mapping[str, str]) -> float | None:
        """Seconds that the headers of a response ask to wait; None where they do not say.

        `Retry-After` holds seconds or a date (RFC 9110, section 10.2.3), `retry-after-ms`
        milliseconds.
        """
        for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
            try:
                return max(float(headers[name]) * unit, 0.0)
            except (KeyError, ValueError):
                continue
        try:
            date = parsedate_to_datetime(headers["retry-after"])
        except (KeyError, ValueError):
            return None
        return max(date.timestamp() - self._now(), 0.0)
