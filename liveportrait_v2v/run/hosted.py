"""The run of a hosted engine, which takes whole clips and returns a whole clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..concurrency import Stopwatch
from ..engines.base import EngineStatus, HostedEngine, RenderedFrames
from ..plan import RunPlan
from .result import Progress, TakenFace


class HostedRun:
    """A run of a hosted engine.

    Attributes:
        frames_without_source_face, frames_without_driving_face: None, since the engine does not report them.
        faces: as in `Result`; empty for the same reason.
        notes, job: as in `Result`.
    """

    frames_without_source_face = frames_without_driving_face = None
    faces: tuple[TakenFace, ...] = ()

    def __init__(
        self,
        plan: RunPlan,
        engine: HostedEngine,
        clock: Stopwatch,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ):
        self._plan = plan
        self._engine = engine
        self._clock = clock
        self._on_progress = on_progress
        self._cancelled = cancelled
        self.notes: tuple[str, ...] = ()
        self.job: dict[str, Any] | None = None

    def __enter__(self) -> HostedRun:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end: the engine has returned."""

    def frames(self) -> Iterator[RenderedFrames]:
        """Have the engine animate the plan, then yield the result in chunks.

        Raises:
            LivePortraitError: whatever the engine raises.
        """

        def report(status: EngineStatus) -> None:
            if self._on_progress is not None:
                self._on_progress(Progress(0, self._plan.frame_count, status.text, 0.0, 0))

        with self._clock("engine"):
            result = self._engine.animate(self._plan, on_state=report, cancelled=self._cancelled)
        self.notes, self.job = result.notes, result.job
        for frames in self._clock.each("decode", result.frames):
            yield RenderedFrames(frames)

    def progress(self, done: int, seconds: float) -> Progress:
        """Return the progress after this many frames; without a rate, as most of the seconds were spent waiting."""
        return Progress(done, self._plan.frame_count, "writing", 0.0, 0)
