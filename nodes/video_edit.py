"""Trim and crop of Load Video, which front ends of core 0.35 and later let the user draw on the clip itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError

if TYPE_CHECKING:
    from ..liveportrait_v2v.media import Clip

_BUTTON = "image"
"""Value of the upload button, which graphs saved on older cores have at the widget's place."""
_RULE = "edit: start_time and duration of its trim, and x, y, width and height of its crop are numbers from 0 to 1e9"


def edit_input() -> list[io.Input]:
    """Return the input, none on older cores; it is the last one, as saved graphs have the others at their places."""
    kind = getattr(io, "VideoEdit", None)
    if kind is None:
        return []
    tooltip = (
        "Part of the clip in seconds, and of its frames in pixels; zeros keep all. Applied before the other "
        "options."
    )
    # Not advanced: the front end shows no other preview of the file beside it.
    return [kind.Input("edit", optional=True, tooltip=tooltip)]


@dataclass(frozen=True)
class Edit:
    """A trim and a crop.

    Attributes:
        start, duration: in seconds; a duration of 0 goes to the end.
        crop: left, top, width and height in pixels of the upright frame; None for all of it.
    """

    start: Fraction = Fraction(0)
    duration: Fraction = Fraction(0)
    crop: tuple[int, int, int, int] | None = None

    @classmethod
    def read(cls, value: Any) -> Edit:
        """Return what the widget's value means.

        Raises:
            SettingsError: it is not what such a widget gives.
        """
        if not value or value == _BUTTON:
            return cls()
        start, duration = _numbers(value, "trim", ("start_time", "duration"))
        x, y, width, height = map(int, _numbers(value, "crop", ("x", "y", "width", "height")))
        return cls(start, duration, (x, y, width, height) if width and height else None)

    def place(self, clip: Clip, max_side: int) -> tuple[int, tuple[int, int, int, int]]:
        """Return how to decode a clip so that the crop's longest side is at most `max_side`.

        Returns:
            `max_side` of `Clip.chunks`, and left, top, width and height of the crop in its frames. All are even, as
            core rounds them, unless the whole frame is meant.

        Raises:
            SettingsError: the crop is outside of the frame.
        """
        width, height = clip.output_size()
        if self.crop is None:
            return max_side, (0, 0, *clip.output_size(max_side))
        left, top, right, bottom = _inside(self.crop, width, height)
        longest = max(right - left, bottom - top)
        decoded = 0
        if max_side and longest > max_side:
            decoded = max(1, math.floor(max(width, height) * max_side / longest))
        inner_width, inner_height = clip.output_size(decoded)
        across, down = Fraction(inner_width, width), Fraction(inner_height, height)
        x, y = int(left * across) // 2 * 2, int(top * down) // 2 * 2
        sides = [
            max(2, min(int((end - begin) * scale), whole - at) // 2 * 2)
            for begin, end, scale, whole, at in (
                (left, right, across, inner_width, x),
                (top, bottom, down, inner_height, y),
            )
        ]
        return decoded, (x, y, sides[0], sides[1])


def _inside(crop: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the edges of the part of a crop that lies in the frame."""
    left, top, wide, high = crop
    right, bottom = min(left + wide, width), min(top + high, height)
    if right - left < 2 or bottom - top < 2:
        raise SettingsError(
            f"edit: the crop must be at least 2x2 pixels inside of the clip's {width}x{height}, and it is "
            f"{wide}x{high} at {left}, {top}: draw it anew, or set its width to 0"
        )
    return left, top, right, bottom


def _numbers(value: Any, part: str, names: tuple[str, ...]) -> list[Fraction]:
    """Return the numbers of a part of the widget's value, 0 for those that it lacks."""
    given = value.get(part, {}) if isinstance(value, Mapping) else None
    numbers = [given.get(name, 0) for name in names] if isinstance(given, Mapping) else []
    if not numbers or not all(type(number) in (int, float) and 0 <= number < 1e9 for number in numbers):
        raise SettingsError(f"{_RULE}, and it is {value!r:.200}")
    return [Fraction(str(number)) for number in numbers]
