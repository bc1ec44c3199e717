"""SIGINT and SIGTERM as a request to stop."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Context manager that catches SIGINT and SIGTERM; calling it returns whether one has arrived.

    The first signal stops a run between two chunks, a second one raises KeyboardInterrupt at once.

    Attributes:
        signal: number of the first signal, None before it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> Stop:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._handlers = {number: signal.signal(number, self._receive) for number in signals}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.signal is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
