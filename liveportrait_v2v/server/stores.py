"""What a server keeps its jobs and files in, and how its workers get the jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..deadlines import Clock
from .dispatch import Dispatcher
from .files import FileStore
from .jobs import JobStore
from .worker import Worker


@dataclass(frozen=True)
class Stores:
    """Stores of a server.

    Attributes:
        clock: dates jobs and files.
        dispatch: makes the dispatcher to a number of workers.
    """

    jobs: JobStore
    files: FileStore
    clock: Clock
    dispatch: Callable[[Sequence[Worker]], Dispatcher]
