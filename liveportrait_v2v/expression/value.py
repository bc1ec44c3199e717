"""The value: a sum of layers, evaluated at times."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MediaError, SettingsError
from ..settings import Rule
from .channels import CHANNELS, COLUMNS, TARGETS
from .form import MAX_JSON_BYTES, VERSION, layers_of, parsed
from .layers import MAX_KEYFRAMES, MAX_LAYERS, STRENGTH, Keyframe, Layer, check_count
from .old_editor import command_layers, slider_layers

_SHARE = Rule(float, "", low=0, high=1)


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
        check_count("layers", len(self.layers), MAX_LAYERS)
        object.__setattr__(self, "layers", tuple(self.layers))
        check_count("keyframes", sum(len(layer.keyframes) for layer in self.layers), MAX_KEYFRAMES)

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
        factor = float(STRENGTH.check("factor", factor))
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
        return cls(layers_of(form))

    @classmethod
    def from_json(cls, text: str | bytes) -> Expression:
        """Return the expression of a JSON text, as `from_dict`.

        Raises:
            SettingsError: it is no JSON, too large, or has another form.
        """
        return cls.from_dict(parsed(text))

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
        return cls(slider_layers(sliders))

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
        return cls(command_layers(commands, expressions, rate))
