"""SIGINT and SIGTERM as a request to stop."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Context manager that catches SIGINT and SIGTERM; calling it returns whether one has arrived.

    The first signal stops a run between two chunks, a second one raises KeyboardInterrupt at once. Behind the block
    signals have no effect if the process is about to end: its work is done, and so its exit code is known.

    Attributes:
        signal: number of the first signal, None before it.
    """

    def __init__(self, ends: bool = False) -> None:
        """Prepare to catch signals.

        Args:
            ends: whether the process ends after the block.
        """
        self._ends = ends
        self.signal: int | None = None

    def __enter__(self) -> Stop:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._handlers = {number: signal.signal(number, self._receive) for number in signals}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if self._ends else handler)

    def __call__(self) -> bool:
        return self.signal is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
