"""Progress line of a run on the terminal."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from ..text import one_line

if TYPE_CHECKING:
    from ..engines.base import EngineStatus
    from ..run import Progress

REDRAW_SECONDS = 0.1
BAR_WIDTH = 40
MIN_BAR_WIDTH = 5


class ProgressLine:
    """A line that is redrawn in place on a terminal, and not drawn elsewhere; cleared at the end of the block."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._visible = self._stream.isatty()
        self._drawn_at = 0.0
        self._stage = ""
        self._stage_start = (0.0, 0)

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._visible:
            self._redraw("")

    def show(self, progress: Progress) -> None:
        """Show the progress of an animation."""
        note = f"  {progress.without_face} without a face" if progress.without_face else ""
        self._draw(progress.frames, progress.total, progress.stage, progress.fps, note)

    def show_count(self, frames: int, total: int | None, stage: str, unit: str = "fps") -> None:
        """Show how many frames, or other units, a stage has processed, and how fast."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage_start = (now, frames)
        start, first = self._stage_start
        fps = (frames - first) / (now - start) if now > start else 0.0
        self._draw(frames, total, stage, fps, "", unit)

    def show_text(self, status: EngineStatus) -> None:
        """Show the status of a job."""
        if self._visible:
            self._redraw(one_line(status.text, shutil.get_terminal_size().columns - 1))

    def _draw(
        self, frames: int, total: int | None, stage: str, fps: float, note: str, unit: str = "fps"
    ) -> None:
        now = time.monotonic()
        done = total is not None and frames >= total
        recent = stage == self._stage and now - self._drawn_at < REDRAW_SECONDS
        self._stage = stage
        if not self._visible or (recent and not done):
            return
        self._drawn_at = now
        self._redraw(
            progress_text(frames, total, stage, fps, note, shutil.get_terminal_size().columns - 1, unit)
        )

    def _redraw(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()


def progress_text(
    frames: int, total: int | None, stage: str, fps: float, note: str, width: int, unit: str = "fps"
) -> str:
    """Format one line of at most `width` characters; without a total it has no bar and no remaining time."""
    speed = f"  {fps:.1f} {unit}" if fps > 0 else ""
    if total is None:
        return f"{stage} {frames} frames{speed}{note}"[:width]
    # A container's frame count is sometimes slightly too small.
    fraction = min(1.0, frames / total) if total > 0 else 1.0
    remaining = f"  {max(0, total - frames) / fps:.0f} s to go" if fps > 0 else ""
    tail = f" {frames}/{total}{speed}{remaining}{note}"
    bar = min(BAR_WIDTH, width - len(stage) - len(tail) - 3)
    if bar < MIN_BAR_WIDTH:
        return f"{stage}{tail}"[:width]
    full = round(fraction * bar)
    return f"{stage} [{'#' * full}{'-' * (bar - full)}]{tail}"
