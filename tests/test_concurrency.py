"""Stages in threads: order, errors, and nothing left running."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from liveportrait_v2v.concurrency import Ahead, Behind, Stopwatch, torch_thread


def until(condition) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_items_come_in_order():
    with Ahead(iter(range(20))) as ahead:
        assert list(ahead) == list(range(20))


def test_a_generator_runs_ahead_by_no_more_than_the_depth():
    made = []
    with Ahead((made.append(k) or k for k in range(50)), depth=2):
        assert until(lambda: len(made) == 3)  # two wait in the queue, one to enter it
        time.sleep(0.05)
        assert len(made) == 3


def test_an_error_of_the_generator_comes_out_after_what_it_made():
    def broken():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"), Ahead(broken()) as ahead:
        list(ahead)
    with Ahead(broken()) as ahead:
        assert next(iter(ahead)) == 1


def test_closing_ends_the_thread_and_closes_the_generator():
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    before = threading.active_count()
    with Ahead(endless()) as ahead:
        next(iter(ahead))
    assert closed == [True]
    assert until(lambda: threading.active_count() <= before)


def test_work_is_done_behind_in_order():
    done = []
    with Behind(done.append) as behind:
        for k in range(20):
            behind.put(k)
    assert done == list(range(20))


def test_an_error_of_the_work_comes_out_at_the_end_at_the_latest():
    def fail(item):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Behind(fail) as behind:
        behind.put(1)


def test_a_block_left_by_an_error_drops_what_waits(monkeypatch):
    done, started, go = [], threading.Event(), threading.Event()

    def work(item):
        started.set()
        go.wait(60)
        done.append(item)

    def join(thread, join=threading.Thread.join):
        go.set()  # the block is being left
        join(thread)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt), Behind(work, depth=5) as behind:
        for k in range(5):
            behind.put(k)
        assert started.wait(60)
        raise KeyboardInterrupt
    assert done == [0]


def test_the_stopwatch_adds_up_by_stage():
    clock = Stopwatch()
    for _ in range(2):
        with clock("sleep"):
            time.sleep(0.01)
    assert list(clock.each("pass", [1, 2])) == [1, 2]
    assert clock.seconds()["sleep"] >= 0.02
    assert "pass" in clock.seconds()


def test_a_torch_thread_has_its_own_number_of_threads_and_nobody_else_gets_it():
    usual = torch.get_num_threads()
    with torch_thread(usual + 1) as mine:
        assert mine.submit(torch.get_num_threads).result() == usual + 1
        assert torch.get_num_threads() == usual
        others = []
        thread = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert others == [usual]


def test_torch_threads_made_at_once_leave_the_usual_number_as_it_was():
    usual, seen = torch.get_num_threads(), []

    def make() -> None:
        with torch_thread(usual + 1):
            seen.append(torch.get_num_threads())

    for _ in range(20):
        makers = [threading.Thread(target=make) for _ in range(4)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
    assert seen == [usual] * 80
