"""A run of an engine that takes whole clips and gives back a whole clip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch

from ..concurrency import Stopwatch
from ..engines.base import HostedEngine, RunPlan
from ..media import Clip
from .result import Progress


class HostedRun:
    """One run.

    Attributes:
        lost_source, lost_driving: None, since only the engine knows.
        notes, job: as a `Result` has them.
    """

    lost_source = lost_driving = None

    def __init__(
        self,
        engine: HostedEngine,
        on_progress: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool] | None,
    ):
        self._engine = engine
        self._on_progress = on_progress
        self._cancelled = cancelled
        self.notes: tuple[str, ...] = ()
        self.job: dict[str, Any] | None = None

    def clips(self, source: Clip | str | os.PathLike, driving: Clip | str | os.PathLike) -> tuple[Clip, Clip]:
        """Raises what the engine does where a clip can't be had."""
        source, driving = (
            clip if isinstance(clip, Clip) else self._engine.clip(clip, self._cancelled)
            for clip in (source, driving)
        )
        return source, driving

    def frames(self, take: RunPlan, clock: Stopwatch, stack: ExitStack) -> Iterator[torch.Tensor]:
        """The result in chunks, uint8 [N, H, W, 3], when the engine has made it."""

        def tell(state) -> None:
            if self._on_progress is not None:
                self._on_progress(Progress(0, take.pairing.frames, state.text, 0.0, 0))

        with clock("engine"):
            rendered = self._engine.animate(take, on_state=tell, cancelled=self._cancelled)
        self.notes, self.job = rendered.notes, rendered.job
        yield from clock.each("decode", rendered.frames)

    def progress(self, done: int, total: int, seconds: float) -> Progress:
        """Where the run is after so many frames; its seconds say nothing, as most were waited for."""
        return Progress(done, total, "writing", 0.0, 0)
