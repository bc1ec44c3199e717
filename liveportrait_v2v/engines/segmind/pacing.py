"""Pacing of requests: back-off, and one rate limiter per key."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

MAX_WAIT = 60.0
"""Seconds; the longest wait that is granted to a server."""


class Limiter:
    """Rate limiter shared by threads and event loops."""

    def __init__(self, gap: float = 0.5):
        """Set the pace.

        Args:
            gap: seconds from one request to the next.
        """
        self._gap = gap
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Reserve the next free slot and return the seconds until it."""
        with self._lock:
            moment = max(now, self._next)
            self._next = moment + self._gap
            return moment - now

    def hold(self, until: float) -> None:
        """Delay all requests until a moment of the monotonic clock."""
        with self._lock:
            self._next = max(self._next, until)


_limiters: dict[object, Limiter] = {}
_limiters_lock = threading.Lock()


def limiter_of(key: object) -> Limiter:
    """Return the limiter of a key, one per process."""
    with _limiters_lock:
        return _limiters.setdefault(key, Limiter())


def poll_delays() -> Iterator[float]:
    """Yield the seconds to wait before each poll: from 3 up to 10, with 20 % jitter. A job takes about 75 s."""
    delay = 3.0
    while True:
        yield delay * random.uniform(0.8, 1.2)
        delay = min(delay * 1.3, 10.0)


def backoff(attempt: int) -> float:
    """Return the seconds to wait after `attempt` consecutive failures (1 or more)."""
    return min(2.0 ** min(attempt - 1, 5), 20.0) * random.uniform(0.75, 1.25)


def requested_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a 429 asks to wait, at most `MAX_WAIT`; None if they are missing or invalid.

    Args:
        now: seconds since 1970.
    """
    for name in ("retry-after", "x-rate-limit-reset-at-utc"):
        value = headers.get(name, "").strip()
        if not value:
            continue
        wait = _seconds(value, now, relative=name == "retry-after")
        if wait is not None and wait > 0:
            return min(wait, MAX_WAIT)
    return None


def _seconds(value: str, now: float, relative: bool) -> float | None:
    with suppress(ValueError):
        number = float(value)
        if number != number:
            return None
        return number if relative else number - now
    # Python 3.10 does not parse "Z".
    for parse, text in (
        (datetime.fromisoformat, value.replace("Z", "+00:00")),
        (parsedate_to_datetime, value),
    ):
        with suppress(ValueError, TypeError, OverflowError):
            moment = parse(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() - now
    return None
