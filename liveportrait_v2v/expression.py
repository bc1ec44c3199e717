"""Expressions: named channels of a face that are edited, constant or over time. No engine in it.

An `Expression` is a sum of layers. At each moment a layer gives each of its channels a value; what that value adds to
the neutral one counts by the layer's strength and by its blending in and out. The layers' parts are added in order,
and the sum is limited to the channel's range. Where every channel is neutral, an engine changes nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import MediaError, SettingsError
from .settings import Rule
from .text import quoted

VERSION = 1
"""Of the JSON form."""
MAX_LAYERS, MAX_KEYFRAMES = 64, 10_000
"""Layers of an expression, and keyframes of all of them together, at most."""
MAX_SECONDS = 86_400.0
"""Latest time, a day."""
MAX_JSON_BYTES = 8 << 20
"""Size of a file at most: 10,000 keyframes of all channels take less."""
MAX_STRENGTH = 4.0
EASES = ("linear", "smooth", "hold")
"""Ways from a keyframe to the next one of a channel."""
_SLACK_SECONDS = 1e-6  # rounding of a frame's time


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

_TIME = Rule(float, "", low=0, high=MAX_SECONDS)
_STRENGTH = Rule(float, "", low=0, high=MAX_STRENGTH)
_RATE = Rule(float, "", low=1, high=1000)
_SHARE = Rule(float, "", low=0, high=1)
_LAYER_TIMES = ("start", "end", "blend_in", "blend_out")


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
        object.__setattr__(self, "channels", _checked(self.channels))
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
        object.__setattr__(self, "channels", _checked(self.channels))
        _check_count("keyframes", len(self.keyframes), MAX_KEYFRAMES)
        object.__setattr__(self, "keyframes", tuple(self.keyframes))
        for name in _LAYER_TIMES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _TIME.check(name, getattr(self, name)))
        object.__setattr__(self, "strength", _STRENGTH.check("strength", self.strength))
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
        for name in (*_LAYER_TIMES, "strength"):
            if getattr(self, name) != getattr(usual, name):
                form[name] = getattr(self, name)
        return form


@dataclass(frozen=True)
class Expression:
    """An edited expression: a sum of layers, without any of which nothing is changed.

    For example:

        >>> smiling = Expression.constant(smile=0.8, rotate_yaw=-10)
        >>> nod = Expression.keyed({0: {"rotate_pitch": 0}, 0.4: {"rotate_pitch": 12}, 0.8: {"rotate_pitch": 0}})
        >>> (smiling.scaled(0.5) + nod).at(0.4)["smile"]
        0.4

    Raises:
        SettingsError: more than 64 layers, or more than 10,000 keyframes.
    """

    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        _check_count("layers", len(self.layers), MAX_LAYERS)
        object.__setattr__(self, "layers", tuple(self.layers))
        _check_count("keyframes", sum(len(layer.keyframes) for layer in self.layers), MAX_KEYFRAMES)

    @classmethod
    def constant(cls, **channels: float) -> Expression:
        """Return the expression that gives channels a value throughout."""
        return cls((Layer(channels),))

    @classmethod
    def keyed(
        cls, keyframes: Mapping[float, Mapping[str, float]], ease: str = "linear", **layer: Any
    ) -> Expression:
        """Return the expression of one layer with keyframes: values by time in seconds.

        Args:
            layer: `start`, `end`, `blend_in`, `blend_out` and `strength` of the layer.
        """
        keys = tuple(Keyframe(time, channels, ease) for time, channels in sorted(keyframes.items()))
        return cls((Layer(keyframes=keys, **layer),))

    def __add__(self, other: Expression) -> Expression:
        """Return the sum: this expression's layers, then the other's."""
        return Expression(self.layers + other.layers) if isinstance(other, Expression) else NotImplemented

    def scaled(self, factor: float) -> Expression:
        """Return the expression with every layer's strength multiplied; 0 changes nothing.

        Raises:
            SettingsError: a strength is not from 0 to 4.
        """
        factor = float(_STRENGTH.check("factor", factor))
        return Expression(tuple(replace(layer, strength=layer.strength * factor) for layer in self.layers))

    def blended(self, other: Expression, share: float) -> Expression:
        """Return a mixture of two: this one scaled by 1 - share, plus the other scaled by share, 0..1."""
        share = float(_SHARE.check("share", share))
        return self.scaled(1 - share) + other.scaled(share)

    @property
    def channels(self) -> frozenset[str]:
        """Names of the channels that it has values for."""
        return frozenset().union(*(layer.names for layer in self.layers))

    @property
    def has_keyframes(self) -> bool:
        """Whether it changes over time by keyframes."""
        return any(layer.keyframes for layer in self.layers)

    @property
    def end(self) -> float | None:
        """Seconds at which the last layer that ends does; None where none has keyframes or an end."""
        ends = [end for layer in self.layers for _, end in [layer.span] if end < math.inf]
        return max(ends, default=None)

    def row(self, seconds: float) -> tuple[float, ...]:
        """Return what is edited at a time, in the order of COLUMNS; all 0 where nothing is."""
        added = dict.fromkeys(COLUMNS, 0.0)
        for layer in self.layers:
            weight = layer.weight(seconds)
            if not weight:
                continue
            for name, value in layer.values(seconds).items():
                neutral = CHANNELS[name].neutral
                if neutral is not None:
                    added[name] += weight * (value - neutral)
                    continue
                # A later target covers earlier ones by its weight.
                share, below = min(weight, 1.0), added[f"{name}_weight"] * (1 - min(weight, 1.0))
                added[f"{name}_weight"] = share + below
                added[name] = (share * value + below * added[name]) / (share + below)
        for name, channel in CHANNELS.items():
            if channel.neutral is not None and added[name]:
                low, high = channel.low - channel.neutral, channel.high - channel.neutral
                added[name] = min(max(added[name], low), high)
        return tuple(added.values())

    def at(self, seconds: float) -> dict[str, float]:
        """Return the values of all channels that differ from neutral at a time, by name.

        A target's value stands for its full weight: `row` has the weight.
        """
        row = dict(zip(COLUMNS, self.row(seconds), strict=True))
        return {
            name: row[name] + (channel.neutral or 0.0)
            for name, channel in CHANNELS.items()
            if row[f"{name}_weight" if name in TARGETS else name]
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that docs/expression.schema.json describes."""
        return {"version": VERSION, "layers": [layer.to_dict() for layer in self.layers]}

    def to_json(self) -> str:
        """Return the JSON form as text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, form: Any) -> Expression:
        """Return the expression of a JSON form, or of what the old editor had: its sliders, and its commands.

        Raises:
            SettingsError: another form; names the layer and the rule.
        """
        if not isinstance(form, Mapping):
            raise SettingsError(f"an expression must be an object, got {quoted(form)}")
        if "version" not in form:
            return _of_old_editor(form)
        version = form["version"]
        if type(version) is not int or version != VERSION:
            raise SettingsError(
                f"version must be {VERSION}, got {quoted(version)}; a later one needs a later liveportrait-v2v"
            )
        _check_keys(form, ("version", "layers", "$schema"), "an expression")
        layers = _list("layers", form.get("layers"))
        _check_count("layers", len(layers), MAX_LAYERS)
        made = []
        for place, item in enumerate(layers):
            try:
                made.append(_layer(item))
            except SettingsError as error:
                raise SettingsError(f"layer {place + 1}: {error}") from None
        return cls(tuple(made))

    @classmethod
    def from_json(cls, text: str | bytes) -> Expression:
        """Return the expression of a JSON text, as `from_dict`.

        Raises:
            SettingsError: it is no JSON, too large, or has another form.
        """
        _check_count("the JSON's bytes", len(text), MAX_JSON_BYTES)
        try:
            form = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
        except SettingsError:
            raise
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"an expression must be JSON: {error}") from None
        return cls.from_dict(form)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Expression:
        """Read a JSON file.

        Raises:
            MediaError: the file can't be read, or is no expression.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_JSON_BYTES + 1)
        except OSError as error:
            raise MediaError(path, f"can't be read: {error.strerror or error}") from error
        try:
            return cls.from_json(data)
        except SettingsError as error:
            raise MediaError(path, str(error)) from None

    @classmethod
    def from_sliders(cls, sliders: Mapping[str, Any]) -> Expression:
        """Return the constant expression of the old editor's sliders.

        `src_ratio` is `source`, and `wink` is `wink_left`. As there, `wink` and `aaa` also turn the head. The sliders
        that only concern its crop and its sample picture have no effect: `crop_factor`, `sample_ratio`, `sample_parts`.

        Raises:
            SettingsError: an unknown slider, or a value out of range.
        """
        unknown = [name for name in sliders if name not in (*SLIDERS, *OTHER_SLIDERS)]
        if unknown:
            known = ", ".join((*SLIDERS, *OTHER_SLIDERS))
            raise SettingsError(f"unknown slider {quoted(unknown[0])}; known are {known}")
        values = {}
        for name, value in sliders.items():
            if name in SLIDERS:
                values[SLIDERS[name]] = CHANNELS[SLIDERS[name]].check(name, value)
        # Sums are limited to the range of the turn, as the sliders themselves are.
        layers = [Layer({name: value for name, value in values.items() if value != CHANNELS[name].neutral})]
        for name, turns in _HEAD_WITH.items():
            if values.get(name):
                layers.append(Layer({turn: factor * values[name] for turn, factor in turns.items()}))
        return cls(tuple(layer for layer in layers if layer.channels))

    @classmethod
    def from_commands(
        cls, commands: str, expressions: Sequence[Mapping[str, Any]], rate: float
    ) -> Expression:
        """Return the expression of the old editor's commands, a line `index = change:keep` each.

        A line goes to an expression over `change` frames, linearly, and stays there for `keep` frames. The first one
        starts from the source's own. With a change of 0 it jumps.

        Args:
            commands: lines; blank ones are passed over.
            expressions: the sliders of each expression; `index` counts them from 1, and 0 is the source's own.
            rate: frames per second that `change` and `keep` count in.

        Raises:
            SettingsError: a line of another form, an index without an expression, or too many lines or frames.
        """
        rate = float(_RATE.check("rate", rate))
        _check_count("expressions", len(expressions), MAX_LAYERS)
        states = [{}, *(cls.from_sliders(sliders).at(0) for sliders in expressions)]
        used = sorted({name for state in states for name in state})
        lines = [line.strip() for line in commands.splitlines() if line.strip()]
        _check_count("lines of commands", len(lines), MAX_KEYFRAMES // 2 - 1)
        keys: dict[int, tuple[dict[str, float], str]] = {}
        frame, state = 0, states[0]
        for line in lines:
            index, change, keep = _command(line, len(states))
            if change:
                keys[frame] = state, "linear"
            frame, state = frame + change, states[index]
            keys[frame] = state, "hold"
            frame += keep
        if not used or not lines:
            return cls()
        keys.setdefault(max(frame - 1, max(keys)), (state, "hold"))
        keyframes = [
            Keyframe(
                at / rate, {name: values.get(name, CHANNELS[name].neutral or 0.0) for name in used}, ease
            )
            for at, (values, ease) in sorted(keys.items())
        ]
        return cls((Layer(keyframes=tuple(keyframes)),))


SLIDERS = {
    **{name: name for name in ("rotate_pitch", "rotate_yaw", "rotate_roll", "blink", "eyebrow")},
    "wink": "wink_left",
    **{name: name for name in ("pupil_x", "pupil_y", "aaa", "eee", "woo", "smile")},
    "src_ratio": "source",
}
"""The old editor's sliders, and the channel of each."""
OTHER_SLIDERS = ("crop_factor", "sample_ratio", "sample_parts")
"""Those that only concern its crop and its sample picture."""
_HEAD_WITH = {"wink_left": {"rotate_roll": -0.1, "rotate_yaw": -0.1}, "aaa": {"rotate_pitch": -0.05}}
"""Turns of the head, in degrees per unit, that the old editor added to a slider."""
_COMMAND = re.compile(r"(\d{1,9})\s*=\s*(\d{1,9})\s*:\s*(\d{1,9})", re.ASCII)


def _command(line: str, count: int) -> tuple[int, int, int]:
    """Return index, change and keep of a command."""
    match = _COMMAND.fullmatch(line)
    if match is None:
        raise SettingsError(f"a command is index = change:keep in whole numbers, got {quoted(line)}")
    index, change, keep = map(int, match.groups())
    if index >= count:
        raise SettingsError(
            f"a command's index must be an expression's, from 0 (the source's own) to {count - 1}, got {index}"
        )
    return index, change, keep


def _of_old_editor(form: Mapping[str, Any]) -> Expression:
    """Return the expression of sliders, or of {"sliders": [...], "command": ..., "rate": ...}."""
    if "command" not in form and "sliders" not in form:
        if form and set(form) & set(SLIDERS) and "layers" not in form:
            return Expression.from_sliders(form)
        raise SettingsError(f"an expression must have a version, which is {VERSION}, got none")
    _check_keys(form, ("sliders", "command", "rate"), "what the old editor had")
    sliders, command = _list("sliders", form.get("sliders")), form.get("command")
    for item in sliders:
        if not isinstance(item, Mapping):
            raise SettingsError(f"sliders must be an object for each expression, got {quoted(item)}")
    if not isinstance(command, str):
        raise SettingsError(f"command must be text, got {quoted(command)}")
    return Expression.from_commands(command, sliders, form.get("rate", 25))


def _layer(form: Any) -> Layer:
    if not isinstance(form, Mapping):
        raise SettingsError(f"must be an object, got {quoted(form)}")
    _check_keys(form, ("channels", "keyframes", *_LAYER_TIMES, "strength"), "a layer")
    items = _list("keyframes", form.get("keyframes", []))
    _check_count("keyframes", len(items), MAX_KEYFRAMES)
    keyframes = []
    for place, item in enumerate(items):
        try:
            keyframes.append(_keyframe(item))
        except SettingsError as error:
            raise SettingsError(f"keyframe {place + 1}: {error}") from None
    return Layer(**{**form, "keyframes": tuple(keyframes)})


def _keyframe(form: Any) -> Keyframe:
    if not isinstance(form, Mapping):
        raise SettingsError(f"must be an object, got {quoted(form)}")
    _check_keys(form, ("time", "channels", "ease"), "a keyframe")
    if "time" not in form or "channels" not in form:
        raise SettingsError("must have a time and channels")
    return Keyframe(**form)


def _checked(channels: Any) -> dict[str, float]:
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


def _check_keys(form: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = [key for key in form if key not in known]
    if unknown:
        raise SettingsError(f"unknown key {quoted(unknown[0])} of {what}; known are {', '.join(known)}")


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise SettingsError(f"{what} must be {most} at most, got {count}")


def _list(what: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise SettingsError(f"{what} must be a list, got {quoted(value)}")
    return value


def _refuse_constant(name: str) -> float:
    raise SettingsError(f"numbers must be finite, got {name}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise SettingsError(f"an object must have each name once, got {quoted(twice)} twice")
    return found


def _smooth(share: float) -> float:
    """Return a share 0..1 slowed down at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
