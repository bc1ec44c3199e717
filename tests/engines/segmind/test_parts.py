"""Unit tests of pacing, server messages and locks."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import datetime, timezone
from email.utils import format_datetime
from itertools import islice

import pytest
from segmind_clocks import QuickClock

from liveportrait_v2v.deadlines import Clock, Deadline, OutOfTime
from liveportrait_v2v.engines.segmind import locks
from liveportrait_v2v.engines.segmind.errors import message_of
from liveportrait_v2v.engines.segmind.pacing import (
    Limiter,
    backoff,
    limiter_of,
    poll_delays,
    requested_wait,
)
from liveportrait_v2v.engines.segmind.responses import credits_of, entries_of, find_url, status_of

NOW = 1_800_000_000.0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, timezone.utc)


REQUESTED_WAITS = [
    ({}, None),
    ({"retry-after": "7"}, 7),
    ({"retry-after": "7.5"}, 7.5),
    ({"retry-after": format_datetime(moment(20), usegmt=True)}, 20),
    ({"retry-after": "99999999"}, 60),
    ({"retry-after": "inf"}, 60),
    ({"retry-after": "-3"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "soon", "x-rate-limit-reset-at-utc": moment(9).isoformat()}, 9),
    ({"x-rate-limit-reset-at-utc": moment(9).isoformat()}, 9),
    ({"x-rate-limit-reset-at-utc": "2027-01-15T08:00:09Z"}, 9),
    ({"x-rate-limit-reset-at-utc": moment(9).replace(tzinfo=None).isoformat()}, 9),
    ({"x-rate-limit-reset-at-utc": str(NOW + 9)}, 9),
    ({"x-rate-limit-reset-at-utc": moment(-9).isoformat()}, None),
    ({"x-rate-limit-reset-at-utc": "2999-01-01T00:00:00Z"}, 60),
    ({"x-rate-limit-reset-at-utc": "1e400"}, 60),
]


@pytest.mark.parametrize(("headers", "seconds"), REQUESTED_WAITS)
def test_a_requested_wait_is_parsed_and_bounded(headers, seconds):
    assert requested_wait(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_a_limiter_keeps_requests_of_many_threads_apart():
    limiter, waits = Limiter(gap=0.5), []
    threads = [threading.Thread(target=lambda: waits.append(limiter.reserve(100.0))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [0.5 * k for k in range(16)]


def test_a_limiter_on_hold_delays_every_request():
    limiter = Limiter(gap=0.5)
    limiter.hold(110.0)
    assert [limiter.reserve(100.0), limiter.reserve(100.0), limiter.reserve(200.0)] == [10.0, 10.5, 0.0]


def test_each_key_has_one_limiter():
    assert limiter_of("a") is limiter_of("a") is not limiter_of("b")


def test_a_deadline_is_kept_to_the_second():
    clock = QuickClock()
    deadline = Deadline(10.0, clock)

    async def wait() -> None:
        await deadline.sleep(7)
        assert deadline.left() <= 3
        await deadline.sleep(7)

    with pytest.raises(OutOfTime):
        asyncio.run(wait())
    assert clock.passed == pytest.approx(10, abs=0.5)


def test_waits_grow_and_are_bounded():
    delays = list(islice(poll_delays(), 30))
    assert 2.4 <= delays[0] <= 3.6
    assert all(8 <= delay <= 12 for delay in delays[10:])
    assert all(15 <= backoff(attempt) <= 25 for attempt in (6, 50, 2000))


def test_the_real_clock_advances():
    clock = Clock()
    asyncio.run(clock.sleep(0.01))
    assert clock.monotonic() > 0
    assert clock.time() > 1e9


SAID = [
    ("plain", "plain"),
    ({"error": "a"}, "a"),
    ({"message": "b"}, "b"),
    ({"detail": [{"msg": "c", "loc": ["x"]}, {"msg": "d"}]}, "c; d"),
    ({"error": {"message": "e", "code": 1}}, "e"),
    ({"error_description": "f"}, "f"),
    ({"error": None, "message": "g"}, "g"),
    ({"odd": 1}, '{"odd": 1}'),
    (None, ""),
    ("\x1b[31mred\x1b[0m \x07\r\n\u202eevil\u0000", "red evil"),
    ("\x1b]8;;https://evil.example\x07click\x1b]8;;\x07", "click"),
    ("<html><script>x()</script><title>405</title> Not <b>Allowed</b></html>", "405 Not Allowed"),
    ("smile 🙂", "smile 🙂"),
]


@pytest.mark.parametrize(("value", "text"), SAID)
def test_a_servers_message_becomes_one_clean_line(value, text):
    assert message_of(value) == text


LONG = {
    "letters": "x" * 10_000_000,
    "many": {"error": ["y" * 1_000_000] * 5},
    "tags": "<" * 5_000_000,
    "escapes": "\x1b]" * 4_000_000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_servers_message_is_limited_in_length(name):
    assert len(message_of(LONG[name])) <= 400


@pytest.mark.parametrize("value", [None, 3, "", "ok", [], {}, '{"url": 3}', [[[[["https://x.example"]]]]]])
def test_what_holds_no_url_gives_none(value):
    assert find_url(value) is None
    assert find_url("[" * 100_000) is None


def test_entries_are_found_however_they_are_wrapped():
    entry = {
        "request_id": "a",
        "model_status": "completed",
        "request_body": '{"x": 1}',
        "credits_deduction": "0.3",
    }
    for body in (entry, [entry], {"data": [entry]}, {"result": {"rows": [entry]}}):
        (found,) = entries_of(body)
        assert (found.request_id, found.status.state, found.status.bill.cost) == ("a", "COMPLETED", 0.3)
        assert found.request_body == {"x": 1}
    assert list(entries_of({"data": [{"request_id": 7}, None, 3, "x"]})) == []


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), True, "free", None, [1], 10**400])
def test_a_price_that_is_not_a_number_is_none(cost):
    assert status_of({"status": "COMPLETED", "metrics": {"cost": cost}}, {}).bill.cost is None


def test_credits_are_numbers_by_kind():
    assert credits_of({"credits": "3.5", "free-credits": 2, "user": "me"}) == {
        "credits": 3.5,
        "free-credits": 2.0,
    }
    assert credits_of([]) == {}


def test_a_lock_has_one_holder_and_leaves_no_file(tmp_path):
    first = locks.take(tmp_path / "a")
    assert first is not None
    assert locks.take(tmp_path / "a") is None
    locks.release(first)
    second = locks.take(tmp_path / "a")
    assert second is not None
    locks.release(second)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="open files can't be removed")
def test_a_lock_on_a_file_that_was_just_removed_is_none(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    first, flock, late = locks.take(tmp_path / "a"), fcntl.flock, []

    def lock_late(descriptor: int, operation: int) -> None:
        if first.is_locked and not late:
            late.append(os.fstat(descriptor))
            monkeypatch.setattr(fcntl, "flock", flock)
            locks.release(first)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    second = locks.take(tmp_path / "a")
    assert late, "the removal came too late"
    # Refused, or taken on a new file, but never on the removed one.
    assert second is None or os.path.samestat(os.stat(tmp_path / "a"), os.stat(second.lock_file))
    third = locks.take(tmp_path / "a")
    assert (second is None) != (third is None)


def test_locks_taken_by_many_threads_are_never_held_twice(tmp_path):
    held, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal held, most
        for _ in range(50):
            while (mine := locks.take(tmp_path / "a")) is None:
                pass
            with lock:
                held += 1
                most = max(most, held)
            with lock:
                held -= 1
            locks.release(mine)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
