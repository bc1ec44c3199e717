"""Stages in threads: order, errors, and nothing left running."""

from __future__ import annotations

import threading
import time
import types
from contextlib import contextmanager

import pytest
import torch

from liveportrait_v2v.concurrency import Ahead, Behind, HostCopies, OwnStream, Stopwatch, torch_thread


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


class Stream:
    """A CUDA stream: what is queued on it runs when an event on it is waited for, and never by itself."""

    def __init__(self, device=None):
        self.queued = []

    def record_event(self):
        def mark():
            pass

        def synchronize():
            while mark in self.queued:
                self.queued.pop(0)()

        self.queued.append(mark)
        return types.SimpleNamespace(synchronize=synchronize)

    def wait_stream(self, other):
        self.queued.append(other.record_event().synchronize)

    def synchronize(self):
        self.record_event().synchronize()


class OnGpu:
    """A tensor in a GPU's memory.

    Attributes:
        values: there once the work that makes them has run.
        used_on: streams that its memory is kept for.
    """

    device, shape, dtype = torch.device("cuda", 0), (2,), torch.uint8

    def __init__(self):
        self.values, self.used_on = None, []

    def record_stream(self, stream):
        self.used_on.append(stream)


class Pinned(torch.Tensor):
    """Page-locked memory: copies into it are queued on the current stream."""

    def copy_(self, source, non_blocking=False):
        assert non_blocking
        torch.cuda.current_stream().queued.append(lambda: self.set_(source.values.untyped_storage()))
        return self


@pytest.fixture
def gpu(monkeypatch) -> Stream:
    """A GPU of a kind; gives the stream that is current in the beginning."""
    usual = Stream()
    current = [usual]

    @contextmanager
    def on(stream):
        current.append(stream)
        yield
        current.pop()

    def empty(shape, dtype, pin_memory):
        assert pin_memory
        return torch.zeros(shape, dtype=dtype).as_subclass(Pinned)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: current[-1])
    monkeypatch.setattr(torch, "empty", empty)
    return usual


def drawn(stream: Stream, *values: int) -> OnGpu:
    """A tensor that work on a stream makes."""
    there = OnGpu()
    stream.queued.append(lambda: setattr(there, "values", torch.tensor(values, dtype=torch.uint8)))
    return there


def test_a_copy_to_the_host_waits_for_what_makes_the_tensor(gpu):
    (copy,) = HostCopies().start(drawn(gpu, 1, 2)).get()
    assert copy.tolist() == [1, 2]


def test_starting_a_copy_waits_for_nothing(gpu):
    there = drawn(gpu, 1, 2)
    HostCopies().start(there)
    assert there.values is None


def test_a_copy_to_the_host_does_not_wait_for_later_work(gpu):
    copies, later = HostCopies(), []
    first = copies.start(drawn(gpu, 1, 2))
    gpu.queued.append(lambda: later.append(1))
    copies.start(drawn(gpu, 3, 4))
    first.get()
    assert later == []


def test_the_tensor_is_kept_until_its_copy_is_made(gpu):
    copies, there = HostCopies(), drawn(gpu, 1, 2)
    copies.start(there)
    assert there.used_on == [copies._stream]
    assert copies._stream is not gpu


def test_a_copy_that_a_receiver_keeps_is_not_written_again(gpu):
    copies = HostCopies()
    kept = [copies.start(drawn(gpu, k, k)).get()[0] for k in range(8)]
    assert [copy.tolist() for copy in kept] == [[k, k] for k in range(8)]


def test_tensors_on_the_cpu_are_handed_on_as_they_are():
    frames, mask = torch.zeros(2), torch.ones(2)
    got = HostCopies().start(frames, mask).get()
    assert got[0] is frames
    assert got[1] is mask


def test_what_an_own_stream_makes_is_kept_for_the_stream_that_was_current_where_it_was_made(gpu):
    callers, there = Stream(), OnGpu()
    with torch.cuda.stream(callers):
        own = OwnStream("cuda")
    thread = threading.Thread(target=lambda: own.hand_over(there))
    thread.start()
    thread.join()
    assert there.used_on == [callers]


def test_an_own_stream_is_current_inside_its_block_and_done_when_it_hands_over(gpu):
    own, done = OwnStream("cuda"), []
    with own:
        torch.cuda.current_stream().queued.append(lambda: done.append(1))
        own.hand_over(OnGpu())
    assert done == [1]
    assert torch.cuda.current_stream() is gpu
