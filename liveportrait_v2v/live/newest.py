"""A place for the newest item between two threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """A place for one item: a newer one takes the place of one that nobody took, so that nothing queues up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Put an item there, and return whether it took the place of another."""
        with self._changed:
            replaced = self._item is not None
            self._item = None if self._closed else item
            self._changed.notify()
            return replaced

    def close(self) -> None:
        """End the iteration, whatever is there."""
        with self._changed:
            self._closed, self._item = True, None
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield the newest item again and again, each once, as soon as there is one; until `close`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._item is not None)
                if self._item is None:
                    return
                item, self._item = self._item, None
            yield item
