"""Clocks and deadlines, and waits that can't be cut short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import datetime, timezone
from typing import TypeVar

T = TypeVar("T")
# Seconds since 1970 of the last day that `datetime` knows in every time zone.
_LAST_MOMENT = 253402214400.0


class Clock:
    """Time source; tests replace it."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep without blocking the event loop."""
        await asyncio.sleep(seconds)


class SteadyClock(Clock):
    """Clock whose `time` is the wall clock's at its start plus what has passed since, whatever the wall clock does.

    Time in which the machine sleeps counts where the system can measure it.
    """

    def __init__(self, now: float | None = None) -> None:
        """Start the clock at a number of seconds since 1970, by default what the wall clock shows."""
        self._wall = time.time() if now is None else now
        self._start = _since_boot()

    def time(self) -> float:
        return self._wall + _since_boot() - self._start


class OutOfTime(Exception):
    """A deadline has passed."""


class Deadline:
    """Deadline in a number of seconds, on the monotonic clock."""

    def __init__(self, seconds: float, clock: Clock | None = None):
        self._clock = clock or Clock()
        self._start = self._clock.monotonic()
        self._seconds = seconds

    def elapsed(self) -> float:
        return self._clock.monotonic() - self._start

    def left(self) -> float:
        """Return the remaining seconds, above 0.

        Raises:
            OutOfTime: the deadline has passed.
        """
        left = self._seconds - self.elapsed()
        if left <= 0:
            raise OutOfTime
        return left

    async def sleep(self, seconds: float) -> None:
        """Sleep, at most until the deadline.

        Raises:
            OutOfTime: the deadline comes first.
        """
        await self._clock.sleep(min(seconds, self.left()))
        self.left()

    async def wait(self, work: Awaitable[T]) -> T:
        """Return the result of some work; cancel it when the deadline comes first.

        Raises:
            OutOfTime: the deadline came first.
        """
        task = asyncio.ensure_future(work)
        try:
            # Not asyncio.wait_for: until Python 3.12 it drops a cancellation that comes as the work ends.
            await asyncio.wait({task}, timeout=self.left())
            late = not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # which asyncio would report as never seen
        if late and task.cancelled():
            raise OutOfTime
        return task.result()


async def to_the_end(work: Awaitable[T]) -> T:
    """Return the result of some work that a cancellation does not cut short.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; the work is done all the same.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # which asyncio would report as never seen
        raise cancelled
    return task.result()


def moment(seconds: float) -> datetime:
    """Return the UTC date of a number of seconds since 1970, the nearest one where `datetime` does not reach."""
    return datetime.fromtimestamp(min(max(seconds, 86400.0), _LAST_MOMENT), timezone.utc)


def _since_boot() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
