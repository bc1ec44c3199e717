"""Clocks that shorten long waits."""

from __future__ import annotations

import time

from liveportrait_v2v.deadlines import Clock


class QuickClock(Clock):
    """Clock that advances instead of sleeping. `jump` shifts the wall clock."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.jump = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def time(self) -> float:
        return time.time() + self.passed + self.jump

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await super().sleep(0)


class HastyClock(Clock):
    """Real clock with shortened sleeps, for runs that wait for each other."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))
