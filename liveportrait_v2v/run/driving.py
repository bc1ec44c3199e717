"""A driving clip that several roles read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from ..concurrency import Stopwatch
from ..tracking import TrackedChunk, TrackedClip
from .passes import Passes, fan_out

_Row = tuple[TrackedChunk, ...]


class DrivingClip:
    """A driving clip, decoded and tracked once for all roles that it leads; leaving the block ends its threads.

    The roles read it in step: none begins a pass before each of the others has begun the pass before, or is more than
    a chunk of the result ahead of them.
    """

    def __init__(self, clip: TrackedClip, readers: int, clock: Stopwatch):
        """Take the clip, with the face of each reader."""
        self._clip = clip
        self._passes = Passes(clip.chunks, clock, "wait driving")
        self._rows = _Rows(iter(()))
        self._columns: list[deque[Iterator[TrackedChunk]]] = [deque() for _ in range(readers)]
        self._stack = ExitStack()

    def __enter__(self) -> DrivingClip:
        self._stack.enter_context(self._clip)
        self._stack.enter_context(self._passes)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def faces(self) -> int:
        """Number of faces found so far."""
        return self._clip.faces

    def survey(self, reader: int, cap: int) -> Iterator[TrackedChunk]:
        """Start a pass of one reader alone, before the run."""
        return (row[reader] for row in self._passes.begin(cap, keep=True))

    def begin(self, reader: int, cap: int, keep: bool) -> Iterator[TrackedChunk]:
        """Return the next pass for a reader; the first one that asks for it starts it.

        Args:
            cap: most frames, 0 = all.
            keep: keep the tracks, as another pass follows.
        """
        if not self._columns[reader]:
            self._rows.finish()  # the end of the last pass, which the others have still to read
            self._rows = _Rows(self._passes.begin(cap, keep))
            for waiting, column in zip(self._columns, fan_out(self._rows, len(self._columns)), strict=True):
                waiting.append(column)
        return self._columns[reader].popleft()


class _Rows(Iterator[_Row]):
    """The rows of a pass, which can be read to their end at once."""

    def __init__(self, rows: Iterator[_Row]):
        self._rows = rows

    def __next__(self) -> _Row:
        return next(self._rows)

    def finish(self) -> None:
        self._rows = iter(list(self._rows))


@dataclass(frozen=True)
class DrivingReader:
    """One role's reading of a driving clip: `DrivingClip` for its reader `place`."""

    clip: DrivingClip
    place: int

    @property
    def faces(self) -> int:
        """Number of faces found in the clip so far."""
        return self.clip.faces

    def survey(self, cap: int) -> Iterator[TrackedChunk]:
        """Start a pass of this reader alone, before the run."""
        return self.clip.survey(self.place, cap)

    def begin(self, cap: int, keep: bool) -> Iterator[TrackedChunk]:
        """Return the reader's next pass."""
        return self.clip.begin(self.place, cap, keep)
