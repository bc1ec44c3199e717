"""How long the result is, and which source and driving frame each of its frames shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ..media import ClipInfo
from ..settings import AnimationSettings, MotionOptions

STILL_RATE = Fraction(25)
"""Frames per second of the result of two stills."""


@dataclass(frozen=True)
class Pairing:
    """The timing of a source clip and a driving clip.

    Attributes:
        rate: frames per second of the result.
        frames: number of frames of the result.
        source_frames: frames of the source clip, 0 for a still.
        driving_frames: frames of the driving clip that may be read, 0 for a still.
        driving_step: driving frames per frame of the result.
        repeats: the shorter clip starts again (`circle`); otherwise its last frame is held.
    """

    rate: Fraction
    frames: int
    source_frames: int
    driving_frames: int
    driving_step: Fraction
    repeats: bool

    def source_at(self, frame: int) -> tuple[int, int]:
        """Return the pass through the source clip, and the frame in it, that output frame `frame` shows."""
        if not self.source_frames:
            return 0, 0
        if self.repeats:
            return divmod(frame, self.source_frames)
        return 0, min(frame, self.source_frames - 1)

    @property
    def led_frames(self) -> int:
        """Frames of the driving clip that lead the result, from its first one on; 0 for a still."""
        return min(self.driving_frames, math.ceil((self.frames - 1) * self.driving_step) + 1)

    def driving_at(self, frame: int) -> tuple[int, Fraction]:
        """Return the pass through the driving clip, and the place in it in frames, that leads output frame `frame`."""
        if not self.driving_frames:
            return 0, Fraction(0)
        place = frame * self.driving_step
        if self.repeats:
            return int(place // self.driving_frames), place % self.driving_frames
        return 0, min(place, Fraction(self.driving_frames - 1))


def pair(
    source: ClipInfo,
    driving: ClipInfo,
    settings: AnimationSettings,
    options: MotionOptions,
    still_rate: Fraction | None = None,
) -> Pairing:
    """Work out the timing of a source clip and a driving clip.

    A still lasts as long as the other clip. Two stills give one frame.

    Args:
        still_rate: frames per second of the result where the source is a still; None takes the driving clip's.
    """
    source_frames = 0 if source.is_still else source.frame_count
    driving_frames = 0 if driving.is_still else driving.frame_count
    if settings.video_frame_load_cap:
        driving_frames = min(driving_frames, settings.video_frame_load_cap)
    rate = source.rate or still_rate or driving.rate or STILL_RATE
    by_time = options.pairing == "time"
    step = driving.rate / rate if by_time and driving.rate is not None else Fraction(1)

    lengths = [n for n in (source_frames, math.ceil(driving_frames / step)) if n]
    longest = settings.mismatch_method in ("circle", "none")
    frames = (max(lengths) if longest else min(lengths)) if lengths else 1
    return Pairing(rate, frames, source_frames, driving_frames, step, settings.mismatch_method == "circle")
