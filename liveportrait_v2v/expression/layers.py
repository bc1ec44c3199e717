"""Layers of an expression: channels with a value each, constant or by keyframes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import SettingsError
from ..settings import Rule
from ..text import quoted
from .channels import checked

MAX_LAYERS, MAX_KEYFRAMES = 64, 10_000
"""Layers of an expression, and keyframes of all of them together, at most."""
MAX_SECONDS = 86_400.0
"""Latest time, a day."""
MAX_STRENGTH = 4.0
EASES = ("linear", "smooth", "hold")
"""Ways from a keyframe to the next one of a channel."""
LAYER_TIMES = ("start", "end", "blend_in", "blend_out")
STRENGTH = Rule(float, "", low=0, high=MAX_STRENGTH)
_TIME = Rule(float, "", low=0, high=MAX_SECONDS)
_SLACK_SECONDS = 1e-6  # rounding of a frame's time


@dataclass(frozen=True)
class Keyframe:
    """Values of channels at a time.

    Attributes:
        time: seconds of the result.
        channels: values by name; at least one.
        ease: how each of them goes to the channel's next keyframe: "linear", "smooth" (slow at both ends) or "hold"
            (jumps there).

    Raises:
        SettingsError: an unknown channel, or a value out of range.
    """

    time: float
    channels: Mapping[str, float] = field(hash=False)
    ease: str = "linear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", _TIME.check("time", self.time))
        object.__setattr__(self, "channels", checked(self.channels))
        if not self.channels:
            raise SettingsError("a keyframe must have one channel or more, got none; leave the keyframe out")
        if not isinstance(self.ease, str) or self.ease not in EASES:
            raise SettingsError(f"ease must be one of {', '.join(EASES)}, got {quoted(self.ease)}")


@dataclass(frozen=True)
class Layer:
    """Channels with a value each, constant or by keyframes.

    Before its first keyframe a channel has that one's value, and behind its last one the last one's.

    Attributes:
        channels: constant values by name.
        keyframes: of other channels, in order of time.
        start, end: seconds between which the layer acts, both included; outside them it changes nothing. None: from
            the first keyframe to the last one, and without keyframes throughout.
        blend_in, blend_out: seconds over which it sets in from `start` on, and ends before `end`.
        strength: factor of all that the channels add, from 0 to 4.

    Raises:
        SettingsError: names the rule that is violated.
    """

    channels: Mapping[str, float] = field(default_factory=dict, hash=False)
    keyframes: tuple[Keyframe, ...] = ()
    start: float | None = None
    end: float | None = None
    blend_in: float = 0.0
    blend_out: float = 0.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", checked(self.channels))
        check_count("keyframes", len(self.keyframes), MAX_KEYFRAMES)
        object.__setattr__(self, "keyframes", tuple(self.keyframes))
        for name in LAYER_TIMES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _TIME.check(name, getattr(self, name)))
        object.__setattr__(self, "strength", STRENGTH.check("strength", self.strength))
        for before, after in zip(self.keyframes, self.keyframes[1:], strict=False):
            if after.time <= before.time:
                raise SettingsError(
                    f"keyframes must be in order of time, each later than the one before, got {after.time:g} behind "
                    f"{before.time:g} seconds"
                )
        both = sorted(set(self.channels) & set(self._tracks))
        if both:
            raise SettingsError(
                f"a channel of a layer is constant or has keyframes, got both of {both[0]}; leave one out, or take "
                "another layer"
            )
        start, end = self.span
        if end < start:
            raise SettingsError(f"end must not be before start, got {start:g} to {end:g} seconds")
        if self.blend_out and end == math.inf:
            raise SettingsError(
                f"blend_out needs an end or keyframes, got {self.blend_out:g} without; give an end"
            )

    @cached_property
    def span(self) -> tuple[float, float]:
        """Seconds between which the layer acts."""
        first, last = (self.keyframes[0].time, self.keyframes[-1].time) if self.keyframes else (0.0, math.inf)
        return first if self.start is None else self.start, last if self.end is None else self.end

    @cached_property
    def _tracks(self) -> dict[str, tuple[list[float], list[Keyframe]]]:
        """Times and keyframes of each channel that has any."""
        tracks: dict[str, tuple[list[float], list[Keyframe]]] = {}
        for keyframe in self.keyframes:
            for name in keyframe.channels:
                times, frames = tracks.setdefault(name, ([], []))
                times.append(keyframe.time)
                frames.append(keyframe)
        return tracks

    @property
    def names(self) -> frozenset[str]:
        """Names of its channels."""
        return frozenset(self.channels) | frozenset(self._tracks)

    def weight(self, seconds: float) -> float:
        """Return its strength at a time: 0 outside its span, and less near the ends where it blends in and out."""
        start, end = self.span
        since, left = seconds - start, end - seconds
        if min(since, left) < -_SLACK_SECONDS:
            return 0.0
        ramps = [since / self.blend_in] if self.blend_in else []
        ramps += [left / self.blend_out] if self.blend_out else []
        return self.strength * _smooth(min(1.0, *ramps, 1.0))

    def values(self, seconds: float) -> dict[str, float]:
        """Return the values of its channels at a time, whatever its weight."""
        found = dict(self.channels)
        for name, (times, frames) in self._tracks.items():
            place = bisect_right(times, seconds + _SLACK_SECONDS)
            before, after = frames[max(place - 1, 0)], frames[min(place, len(frames) - 1)]
            value = before.channels[name]
            if after.time > before.time:
                share = min(1.0, max(0.0, (seconds - before.time) / (after.time - before.time)))
                share = {"linear": share, "smooth": _smooth(share), "hold": 0.0}[before.ease]
                value += share * (after.channels[name] - value)
            found[name] = value
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the layer's JSON form; what has its default is left out."""
        form: dict[str, Any] = {}
        if self.channels:
            form["channels"] = dict(self.channels)
        if self.keyframes:
            form["keyframes"] = [
                {"time": key.time, "channels": dict(key.channels)}
                | ({} if key.ease == "linear" else {"ease": key.ease})
                for key in self.keyframes
            ]
        usual = Layer()
        for name in (*LAYER_TIMES, "strength"):
            if getattr(self, name) != getattr(usual, name):
                form[name] = getattr(self, name)
        return form


def check_count(what: str, count: int, most: int) -> None:
    """Check that something is there this many times at most.

    Raises:
        SettingsError: more often.
    """
    if count > most:
        raise SettingsError(f"{what} must be {most} at most, got {count}")


def _smooth(share: float) -> float:
    """Return a share 0..1 slowed down at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
