"""How long the result is, and which source and driving frame each of its frames shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ..errors import SettingsError
from ..expression import Expression
from ..media import ClipInfo
from ..settings import AnimationSettings, MotionOptions

STILL_RATE = Fraction(25)
"""Frames per second of the result of two stills."""
_FRAME_SLACK = 1e-4  # rounding of the time of an end, in frames


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
        edited_frames: frames of an expression over time that alone moves a still; 0 otherwise.
    """

    rate: Fraction
    frames: int
    source_frames: int
    driving_frames: int
    driving_step: Fraction
    repeats: bool
    edited_frames: int = 0

    @property
    def has_length(self) -> bool:
        """Whether it says how long the result is; otherwise one frame shows all that there is."""
        return bool(self.source_frames or self.driving_frames or self.edited_frames)

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
    driving: ClipInfo | None,
    settings: AnimationSettings,
    options: MotionOptions,
    still_rate: Fraction | None = None,
    expression: Expression | None = None,
) -> Pairing:
    """Work out the timing of a source clip and a driving clip.

    A still lasts as long as the other clip. Two stills give one frame. A still without a driving clip lasts up to the
    end of its expression, and one frame without any.

    Args:
        driving: None for none.
        still_rate: frames per second of the result where the source is a still; None takes the driving clip's.
        expression: that edits the source.

    Raises:
        SettingsError: a still's expression changes over time without an end, and nothing else has one.
    """
    source_frames = 0 if source.is_still else source.frame_count
    driving_frames = 0 if driving is None or driving.is_still else driving.frame_count
    if settings.video_frame_load_cap:
        driving_frames = min(driving_frames, settings.video_frame_load_cap)
    driving_rate = None if driving is None else driving.rate
    rate = source.rate or still_rate or driving_rate or STILL_RATE
    by_time = options.pairing == "time"
    step = driving_rate / rate if by_time and driving_rate is not None else Fraction(1)

    edited_frames = 0
    if expression is not None and driving is None and source.is_still:
        edited_frames = _edited_frames(expression, rate)
    lengths = [n for n in (source_frames, math.ceil(driving_frames / step), edited_frames) if n]
    longest = settings.mismatch_method in ("circle", "none")
    frames = (max(lengths) if longest else min(lengths)) if lengths else 1
    repeats = settings.mismatch_method == "circle"
    return Pairing(rate, frames, source_frames, driving_frames, step, repeats, edited_frames)


def _edited_frames(expression: Expression, rate: Fraction) -> int:
    """Return the frames up to the end of an expression, that one included; 0 of a constant one."""
    if expression.end is not None:
        return math.floor(expression.end * rate + _FRAME_SLACK) + 1
    late = [layer for layer in expression.layers if layer.start or layer.blend_in]
    if late:
        raise SettingsError(
            f"the expression of a picture needs an end where it changes over time, got start "
            f"{late[0].start or 0:g} and blend_in {late[0].blend_in:g} without; give the layer an end, or keyframes"
        )
    return 0
