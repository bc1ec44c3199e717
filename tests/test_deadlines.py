"""Deadlines, steady time, and waits that a cancellation does not cut short."""

from __future__ import annotations

import asyncio
import time

import pytest

from liveportrait_v2v.deadlines import Deadline, OutOfTime, SteadyClock, moment, to_the_end


def test_work_within_a_deadline_gives_its_result():
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def scenario() -> int:
        return await Deadline(60).wait(work())

    assert asyncio.run(scenario()) == 7


@pytest.mark.parametrize("seconds", [0.05, 0.0, -1.0])
def test_work_beyond_a_deadline_is_cancelled(seconds):
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def scenario() -> None:
        with pytest.raises(OutOfTime):
            await Deadline(seconds).wait(work())
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert ended == [True] * (seconds > 0)


@pytest.mark.parametrize("fails", [True, False])
def test_a_cancellation_in_the_moment_that_the_work_ends_is_not_lost(fails):
    async def scenario() -> None:
        work = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(Deadline(60).wait(work))
        await asyncio.sleep(0.01)
        if fails:
            work.set_exception(ValueError())
        else:
            work.set_result(7)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_the_works_own_timeout_is_not_the_deadlines():
    async def work() -> None:
        raise asyncio.TimeoutError

    async def scenario() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await Deadline(60).wait(work())

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [True, False])
def test_a_cancellation_waits_for_the_end(fails):
    done = []

    async def work() -> None:
        await asyncio.sleep(0.1)
        done.append(True)
        if fails:
            raise ValueError

    async def scenario() -> None:
        task = asyncio.ensure_future(to_the_end(work()))
        for _ in range(3):
            await asyncio.sleep(0.01)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert done == [True]


def test_a_steady_clock_does_not_follow_the_wall_clock(monkeypatch):
    clock = SteadyClock()
    before = clock.time()
    assert abs(before - time.time()) < 60
    monkeypatch.setattr(time, "time", lambda: 0.0)
    time.sleep(0.05)
    assert 0.04 < clock.time() - before < 60


@pytest.mark.parametrize(
    ("seconds", "year"),
    [(0, 1970), (1.8e9, 2027), (9e13, 9999), (-9e13, 1970), (1e300, 9999), (float("inf"), 9999)],
)
def test_every_moment_has_a_date(seconds, year):
    assert moment(seconds).year == year
    assert moment(seconds).astimezone().isoformat()
