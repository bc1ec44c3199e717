"""Node Expression Keyframes (LivePortrait): expressions at times, as lines of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from ..liveportrait_v2v.expression import CHANNELS, EASES, TARGETS, Keyframe, Layer
from ..liveportrait_v2v.expression import Expression as Value
from ..liveportrait_v2v.text import quoted
from .expression import EXPRESSION, added, chain
from .host import CATEGORY, running

SOCKETS = 6
"""Expressions that can be linked."""
_TABLE = """\
0    0   smooth
0.5  1   smooth
1.5  1   smooth
2    0"""
_RULE = "seconds, then 0, the number of a linked expression, or channel=value, then linear, smooth or hold"
_ASSIGNED = re.compile(r"(\w+)=(\S+)", re.ASCII)


class ExpressionKeyframes(io.ComfyNode):
    """Puts expressions at times."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_ExpressionKeyframes",
            display_name="Expression Keyframes (LivePortrait)",
            description="An expression that changes over time: a table of seconds and the expressions that are reached "
            "there, for Animate Draft or Animate Local. A picture becomes a clip as long as the table.",
            search_aliases=[
                "expression animation",
                "keyframes",
                "timeline",
                "easing",
                "animate picture",
                "关键帧",
                "キーフレーム",
            ],
            inputs=[
                io.String.Input(
                    "table",
                    default=_TABLE,
                    multiline=True,
                    tooltip="A line for each keyframe, in order of time: seconds; 0 for the face's own expression, the "
                    "number of a linked one, or channel=value, several if need be; and how it goes to the next line: "
                    "linear, smooth or hold, linear if left out. Text behind # is a remark.",
                ),
                io.Float.Input(
                    "blend_in",
                    default=0.0,
                    min=0.0,
                    max=3600.0,
                    step=0.01,
                    tooltip="Seconds over which all of it sets in, from the first line on.",
                ),
                io.Float.Input(
                    "blend_out",
                    default=0.0,
                    min=0.0,
                    max=3600.0,
                    step=0.01,
                    tooltip="Seconds over which all of it ends, up to the last line.",
                ),
                *chain(),
                *(
                    EXPRESSION.Input(
                        f"expression_{number}",
                        optional=True,
                        tooltip=f"What {number} means in the table: an expression without keyframes.",
                    )
                    for number in range(1, SOCKETS + 1)
                ),
            ],
            outputs=[EXPRESSION.Output("keyed", display_name="expression")],
        )

    @classmethod
    def value(
        cls,
        table: str = "",
        blend_in: float = 0.0,
        blend_out: float = 0.0,
        expression: Value | None = None,
        ratio: float = 1.0,
        **linked: Value,
    ) -> Value:
        """Return the linked expression with the table's added.

        Raises:
            SettingsError: a line has another form, names what is not linked, or violates a rule of expressions; names
                the line.
        """
        return added(expression, ratio, keyed(table, _by_number(linked), blend_in, blend_out))

    @classmethod
    def execute(cls, **values: Any) -> io.NodeOutput:
        with running.run(cls):
            return io.NodeOutput(cls.value(**values))


def keyed(table: str, linked: Mapping[int, Value], blend_in: float, blend_out: float) -> Value:
    """Return the expression of a table.

    Args:
        linked: constant expressions by the numbers that the table has for them.

    Raises:
        SettingsError: as in `ExpressionKeyframes.value`.
    """
    states = {0: {}, **{number: _constant(number, value) for number, value in linked.items()}}
    lines = [(place, line.partition("#")[0].split()) for place, line in enumerate(table.splitlines(), 1)]
    lines = [(place, words) for place, words in lines if words]
    if not lines:
        raise SettingsError(f"the table must have a line or more, each of {_RULE}; got none")
    called = {int(word) for _, words in lines for word in words[1:2] if word in map(str, states)}
    used = sorted({name for number in called for name in states[number]})
    for name in (name for name in used if name in TARGETS):
        without = sorted(number for number in called if name not in states[number])
        if without:
            raise SettingsError(
                f"{name} has no neutral value to go to: set it in every expression of the table or in none, got "
                f"{without[0]} without it"
            )
    whole = {
        number: {name: state.get(name, CHANNELS[name].neutral or 0.0) for name in used}
        for number, state in states.items()
    }
    keyframes = []
    for place, words in lines:
        try:
            keyframes += _keyframe(words, whole)
        except SettingsError as error:
            raise SettingsError(f"line {place} of the table: {error}") from None
    if not keyframes:
        return Value()
    return Value((Layer(keyframes=tuple(keyframes), blend_in=blend_in, blend_out=blend_out),))


def _constant(number: int, value: Value) -> dict[str, float]:
    """Return the values of an expression's channels.

    Raises:
        SettingsError: they change over time.
    """
    if value.end is not None:
        raise SettingsError(f"expression_{number} changes over time; link one without keyframes")
    return value.at(0)


def _keyframe(words: list[str], states: Mapping[int, Mapping[str, float]]) -> list[Keyframe]:
    """Return the keyframe of a line, none where it sets no channel.

    Args:
        states: the values of all channels that any linked expression of the table has, by its number.
    """
    seconds, *parts = words
    ease = parts.pop() if parts and parts[-1] in EASES else "linear"
    try:
        time = float(seconds)
    except ValueError:
        raise SettingsError(f"begins with seconds, got {quoted(seconds)}") from None
    if len(parts) == 1 and parts[0].isdecimal():
        number = int(parts[0])
        if number not in states:
            raise SettingsError(
                f"expression_{number} is not linked; link an expression, or take another number"
            )
        channels: Mapping[str, Any] = states[number]
    else:
        channels = dict(_assigned(part) for part in parts)
        if not channels:
            raise SettingsError(f"must be {_RULE}; got seconds alone")
    return [Keyframe(time, channels, ease)] if channels else []


def _assigned(part: str) -> tuple[str, float]:
    """Return channel and value of "channel=value"."""
    match = _ASSIGNED.fullmatch(part)
    try:
        if match is not None:
            return match[1], float(match[2])
    except ValueError:
        pass
    raise SettingsError(f"must be {_RULE}; got {quoted(part)}")


def _by_number(linked: Mapping[str, Value | None]) -> dict[int, Value]:
    """Return what is linked to expression_1 and so on, by number."""
    return {int(name.rpartition("_")[2]): value for name, value in linked.items() if value is not None}
