"""One line on the terminal that tells how far a run is."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ..engines.base import EngineStatus
    from ..run import Progress


class ProgressLine:
    """A line that redraws itself, on a terminal; silent where there is none. Leaving the block clears it."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty()
        self._drawn = 0.0
        self._stage = ""
        self._began = (0.0, 0)

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._on:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, progress: Progress) -> None:
        """Draws the progress of an animation."""
        note = f"  {progress.without_face} without a face" if progress.without_face else ""
        self._draw(progress.frames, progress.total, progress.stage, progress.fps, note)

    def show_count(self, frames: int, total: int | None, stage: str, unit: str = "fps") -> None:
        """Draws how many frames, or other things, a stage has done, and how fast."""
        now = time.monotonic()
        if stage != self._stage:
            self._began = (now, frames)
        began, first = self._began
        self._draw(frames, total, stage, (frames - first) / (now - began) if now > began else 0.0, "", unit)

    def show_text(self, told: EngineStatus) -> None:
        """Draws a line about a job."""
        if self._on:
            line = told.text[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()

    def _draw(self, frames: int, total: int | None, stage: str, fps: float, note: str, unit="fps") -> None:
        now = time.monotonic()
        done = total is not None and frames >= total
        if not self._on or (stage == self._stage and now - self._drawn < 0.1 and not done):
            self._stage = stage
            return
        self._drawn, self._stage = now, stage
        line = progress_text(frames, total, stage, fps, note, shutil.get_terminal_size().columns - 1, unit)
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()


def progress_text(
    frames: int, total: int | None, stage: str, fps: float, note: str, width: int, unit: str = "fps"
) -> str:
    """One line of at most `width` characters; without a total it has no bar and no time to go."""
    speed = f"  {fps:.1f} {unit}" if fps > 0 else ""
    if total is None:
        return f"{stage} {frames} frames{speed}{note}"[:width]
    # A container's frame count is at times a little too small.
    done = min(1.0, frames / total) if total > 0 else 1.0
    togo = f"  {max(0, total - frames) / fps:.0f} s to go" if fps > 0 else ""
    tail = f" {frames}/{total}{speed}{togo}{note}"
    room = min(40, width - len(stage) - len(tail) - 3)
    if room < 5:
        return f"{stage}{tail}"[:width]
    full = round(done * room)
    return f"{stage} [{'#' * full}{'-' * (room - full)}]{tail}"
