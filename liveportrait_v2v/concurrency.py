"""Stages of a run in threads and CUDA streams of their own, so that they overlap.

`Ahead` runs a generator in a thread, `Behind` a function; both hold only a few items, and are context managers:
leaving the block ends the thread. `OwnStream` and `HostCopies` are the same for a GPU, and do nothing on a CPU.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_END: Any = object()
_DRAIN_SECONDS = 0.02
_STARTING = threading.Lock()


def torch_thread(threads: int, prepare: Callable[[], object] | None = None) -> ThreadPoolExecutor:
    """Single-thread executor with its own `torch.set_num_threads`; other threads keep theirs.

    Small operations that are split over several cores wait for each other after every step: quick on idle cores,
    several times slower next to other work.

    Args:
        threads: cores that torch uses in that thread.
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
        # set_num_threads also sets the default of threads that start later: put the usual number back.
        torch.set_num_threads(usual)
    return executor


class OwnStream:
    """A CUDA stream for one thread, so that it waits for its own work alone; a no-op on other devices.

    Use it as a context manager to enqueue work on the stream. What it makes is for the stream that is current where
    this object is made, a caller's own one included.
    """

    def __init__(self, device: str) -> None:
        import torch

        self._usual: torch.cuda.Stream | None = None
        self._stream: torch.cuda.Stream | None = None
        if torch.device(device).type == "cuda":
            self._usual, self._stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        self._entered: list[AbstractContextManager[Any]] = []

    def __enter__(self) -> OwnStream:
        import torch

        self._entered.append(nullcontext() if self._stream is None else torch.cuda.stream(self._stream))
        self._entered[-1].__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)

    def hand_over(self, tensor: torch.Tensor) -> None:
        """Wait for this stream, and keep a tensor's memory until the usual stream has used it."""
        if self._stream is not None and self._usual is not None:
            self._stream.synchronize()
            tensor.record_stream(self._usual)


class HostCopy:
    """Tensors on their way to the host."""

    def __init__(self, tensors: tuple[torch.Tensor, ...], done: torch.cuda.Event | None) -> None:
        """Take the host's tensors, and the event from which they are complete; None if they are."""
        self._tensors = tensors
        self._done = done

    def get(self) -> tuple[torch.Tensor, ...]:
        """Wait for the copies, but for nothing that was queued after them, and return them; from any thread."""
        if self._done is not None:
            self._done.synchronize()
        return self._tensors


class HostCopies:
    """Copies of CUDA tensors to the host, on a stream of their own; tensors of other devices stay as they are.

    A copy waits for the work that made its tensors, and neither the host nor later work waits for the copy. It goes
    into page-locked memory. PyTorch uses a block of that again once no tensor refers to it, so that a receiver may
    keep what it got, and the number of blocks is the number of copies under way or kept.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None

    def start(self, *tensors: torch.Tensor) -> HostCopy:
        """Start copying tensors of one device behind the current stream's work so far; they must not change later."""
        import torch

        device = tensors[0].device
        if device.type != "cuda":
            return HostCopy(tensors, None)
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            copies = []
            for tensor in tensors:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                copies.append(copy.copy_(tensor, non_blocking=True))
                tensor.record_stream(self._stream)
            return HostCopy(tuple(copies), self._stream.record_event())


class Stopwatch:
    """Seconds spent in each stage, summed over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Context manager whose time counts for a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += time.perf_counter() - start

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, and count the time that making them takes for a stage."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, _END)
            if item is _END:
                return
            yield item

    def seconds(self) -> dict[str, float]:
        """Return the seconds so far, by stage."""
        with self._lock:
            return dict(self._seconds)


class Ahead(Generic[T]):
    """Iterate over a generator that runs ahead in its own thread, by at most `depth` items.

    The thread starts where the block begins. Leaving the block ends the thread and closes the generator. An exception
    of the generator is raised by the iteration.
    """

    def __init__(self, items: Iterator[T], depth: int = 2) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T, BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=_DRAIN_SECONDS)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item, None))
                if self._stop.is_set():
                    return
            self._queue.put((_END, None))
        except BaseException as error:
            self._queue.put((_END, error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


class Behind(Generic[T]):
    """Call a function on items in a thread of its own, in order, at most `depth` items behind.

    An exception of the function is raised by the next `put` or at the end of the block. A block that an exception
    leaves drops the items that still wait.
    """

    def __init__(self, function: Callable[[T], object], depth: int = 2) -> None:
        self._function = function
        self._queue: queue.Queue[T] = queue.Queue(depth)
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
        """Queue an item; waits while `depth` items wait.

        Raises:
            BaseException: the function's, of an earlier item.
        """
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
