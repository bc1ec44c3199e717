"""The channels by which a face is edited: names, ranges, neutral values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from ..settings import Rule
from ..text import quoted


@dataclass(frozen=True)
class Channel:
    """One way in which a face is edited.

    Attributes:
        low, high: least and largest value.
        help: what it does, in a sentence.
        neutral: the value that changes nothing; None for a target, whose absence does.
    """

    low: float
    high: float
    help: str
    neutral: float | None = 0.0

    def check(self, name: str, value: object) -> float:
        """Return the value as a number.

        Raises:
            SettingsError: another type or out of range; names the channel, its rule and the value.
        """
        return float(Rule(float, "", low=self.low, high=self.high).check(name, value))


CHANNELS: Mapping[str, Channel] = {
    "rotate_pitch": Channel(-20, 20, "Turn of the head in degrees; above 0 it looks down."),
    "rotate_yaw": Channel(-20, 20, "Turn of the head in degrees; above 0 to the picture's right."),
    "rotate_roll": Channel(-20, 20, "Tilt of the head in degrees; above 0 to the picture's right."),
    "blink": Channel(-20, 5, "Both eyes; -20 shuts them, above 0 they open wider."),
    "wink_left": Channel(0, 25, "Shuts the eye on the picture's left; 25 is shut."),
    "wink_right": Channel(0, 25, "Shuts the eye on the picture's right; 25 is shut."),
    "eyebrow": Channel(-10, 15, "Brows; above 0 raised, below 0 drawn together and down."),
    "pupil_x": Channel(-15, 15, "Gaze of both eyes; above 0 to the picture's right."),
    "pupil_y": Channel(-15, 15, "Gaze of both eyes; above 0 upwards."),
    "pupil_x_left": Channel(-15, 15, "Added to pupil_x for the eye on the picture's left."),
    "pupil_x_right": Channel(-15, 15, "Added to pupil_x for the eye on the picture's right."),
    "pupil_y_left": Channel(-15, 15, "Added to pupil_y for the eye on the picture's left."),
    "pupil_y_right": Channel(-15, 15, "Added to pupil_y for the eye on the picture's right."),
    "aaa": Channel(-30, 120, "Opens the mouth, as to say aah; below 0 closes it."),
    "eee": Channel(-20, 15, "Widens the mouth and bares the teeth, as to say eee; below 0 the opposite."),
    "woo": Channel(-20, 15, "Narrows and rounds the mouth, as to say ooh; below 0 the opposite."),
    "smile": Channel(-0.3, 1.3, "Widens the mouth and lifts its corners; below 0 lowers them."),
    "pouting": Channel(-0.09, 0.09, "Pushes the lips sideways; above 0 to the picture's right."),
    "move_x": Channel(-0.19, 0.19, "Moves the head; above 0 to the picture's left."),
    "move_y": Channel(-0.19, 0.19, "Moves the head; above 0 downwards."),
    "zoom": Channel(0.9, 1.2, "Factor of the head's size.", 1.0),
    "eyes_open": Channel(0, 0.8, "Opening that both eyes are to have, height / width.", None),
    "lips_open": Channel(0, 0.8, "Opening that the lips are to have, height / width.", None),
    "source": Channel(0, 1, "How much of the source's own expression stays; 0 is a neutral face.", 1.0),
}
"""The channels by name. Names, ranges and signs are those of the sliders that users of the field know."""

ALL_CHANNELS = frozenset(CHANNELS)
TARGETS = tuple(name for name, channel in CHANNELS.items() if channel.neutral is None)
"""Channels that say what is to be, not what is added."""
COLUMNS = (*CHANNELS, *(f"{name}_weight" for name in TARGETS))
"""What `Expression.row` gives: of each channel what is added to the neutral value; of targets the value, and at the
end the weights 0..1."""


def checked(channels: Any) -> dict[str, float]:
    """Return values of channels as numbers.

    Raises:
        SettingsError: an unknown channel, or a value out of range.
    """
    if not isinstance(channels, Mapping):
        raise SettingsError(f"channels must be an object of numbers, got {quoted(channels)}")
    for name in channels:
        if name not in CHANNELS:
            raise SettingsError(f"unknown channel {quoted(name)}; known are {', '.join(CHANNELS)}")
    return {name: CHANNELS[name].check(name, value) for name, value in channels.items()}
