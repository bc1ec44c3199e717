"""Stages of a run in threads of their own, with little between them: decoding, tracking and encoding overlap."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_END = object()
_STARTING = threading.Lock()


def torch_thread(threads: int, prepare: Callable[[], object] | None = None) -> ThreadPoolExecutor:
    """A thread in which torch computes on so many cores; everywhere else torch keeps the number it has.

    Many small steps, after each of which helping threads wait for each other, are quick on idle cores and several
    times slower next to other work.

    Args:
        prepare: called once in that thread.
    """
    import torch

    def start() -> None:
        torch.set_num_threads(threads)
        if prepare is not None:
            prepare()

    executor = ThreadPoolExecutor(1, "torch", start)
    with _STARTING:
        usual = torch.get_num_threads()
        executor.submit(torch.get_num_threads).result()
        # Each thread has its own number; this is for those that are yet to start.
        torch.set_num_threads(usual)
    return executor


class OwnStream:
    """A GPU stream for one thread. Called, it is a context in which work goes there, so that the thread waits for its
    own work and not for what other threads compute. On any other device it does nothing.
    """

    def __init__(self, device: str) -> None:
        import torch

        self._usual = self._stream = None
        if torch.device(device).type == "cuda":
            self._usual, self._stream = torch.cuda.default_stream(device), torch.cuda.Stream(device)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        import torch

        with torch.cuda.stream(self._stream):
            yield

    def hand_over(self, tensor: torch.Tensor) -> None:
        """Waits for this stream, and has a tensor that was made on it outlive its use on the usual one."""
        if self._stream is not None:
            self._stream.synchronize()
            tensor.record_stream(self._usual)


class Stopwatch:
    """Seconds spent in each stage, summed over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += time.perf_counter() - start

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Passes items on and counts the time that making them takes."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, _END)
            if item is _END:
                return
            yield item

    def seconds(self) -> dict[str, float]:
        with self._lock:
            return dict(self._seconds)


class Ahead(Generic[T]):
    """Iterates over a generator that runs ahead in its own thread, by at most `depth` items.

    An exception of the generator comes out of the iteration. `close` ends the thread and closes the generator.
    """

    def __init__(self, items: Iterator[T], depth: int = 2) -> None:
        self._items = items
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    def close(self) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.02)
            except queue.Empty:
                continue
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item, None))
                if self._stop.is_set():
                    return
            self._queue.put((_END, None))
        except BaseException as error:
            self._queue.put((None, error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


class Behind(Generic[T]):
    """Calls a function on items in a thread of its own, in order, at most `depth` items behind; a context manager.

    An exception of the function comes out of the next `put` or at the end of the block. A block left by an exception
    drops what still waits.
    """

    def __init__(self, function: Callable[[T], object], depth: int = 2) -> None:
        self._function = function
        self._queue: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._drop = kind is not None
        self._queue.put(_END)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if self._drop or self._error is not None:
                continue
            try:
                self._function(item)
            except BaseException as error:
                self._error = error
