"""Passes through a clip, each in a thread that runs ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

from ..concurrency import Ahead, Stopwatch

T = TypeVar("T")


class Passes(Generic[T]):
    """Passes through one clip: each runs ahead in a thread, and begins by ending the one before.

    A context manager; leaving the block ends the current pass.
    """

    def __init__(self, make: Callable[[int, bool], Iterator[T]], clock: Stopwatch, stage: str):
        """Take the function that makes a pass, of `cap` and `keep`, and the stage that waiting for it counts for."""
        self._make = make
        self._clock = clock
        self._stage = stage
        self._current = ExitStack()

    def __enter__(self) -> Passes[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._current.close()

    def begin(self, cap: int, keep: bool = False) -> Iterator[T]:
        """Start a pass of at most `cap` frames, 0 = all; `keep` its tracks if other passes follow."""
        self._current.close()
        ahead = self._current.enter_context(Ahead(self._make(cap, keep)))
        return self._clock.each(self._stage, ahead)


def fan_out(rows: Iterator[tuple[T, ...]], count: int) -> list[Iterator[T]]:
    """Return an iterator over each column of rows [count].

    Unlike `itertools.tee`, it keeps an item only until its own iterator has passed it.
    """
    waiting: list[deque[T]] = [deque() for _ in range(count)]

    def column(own: deque[T]) -> Iterator[T]:
        while True:
            if not own:
                row = next(rows, None)
                if row is None:
                    return
                for queue, item in zip(waiting, row, strict=True):
                    queue.append(item)
            yield own.popleft()

    return [column(own) for own in waiting]
