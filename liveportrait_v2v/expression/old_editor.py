"""What users of the old expression editor have: its sliders, and its commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SettingsError
from ..settings import Rule
from ..text import quoted
from .channels import CHANNELS
from .layers import MAX_KEYFRAMES, MAX_LAYERS, Keyframe, Layer, check_count

SLIDERS = {
    **{name: name for name in ("rotate_pitch", "rotate_yaw", "rotate_roll", "blink", "eyebrow")},
    "wink": "wink_left",
    **{name: name for name in ("pupil_x", "pupil_y", "aaa", "eee", "woo", "smile")},
    "src_ratio": "source",
}
"""The old editor's sliders, and the channel of each."""
OTHER_SLIDERS = ("crop_factor", "sample_ratio", "sample_parts")
"""Those that only concern its crop and its sample picture."""
_HEAD_WITH = {"wink": {"rotate_roll": -0.1, "rotate_yaw": -0.1}, "aaa": {"rotate_pitch": -0.05}}
"""Turns of the head, in degrees per unit, that the old editor added to a slider."""
_COMMAND = re.compile(r"(\d{1,9})\s*=\s*(\d{1,9})\s*:\s*(\d{1,9})", re.ASCII)
_RATE = Rule(float, "", low=1, high=1000)


def slider_layers(sliders: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Return the layers of the sliders, none where nothing is edited. `Expression.from_sliders` has the rules."""
    values = _values(sliders)
    return (Layer(values),) if values else ()


def command_layers(commands: str, expressions: Sequence[Mapping[str, Any]], rate: float) -> tuple[Layer, ...]:
    """Return the layers of commands, none where nothing is edited. `Expression.from_commands` has the rules."""
    rate = float(_RATE.check("rate", rate))
    check_count("expressions", len(expressions), MAX_LAYERS)
    states = [{}, *map(_values, expressions)]
    used = sorted({name for state in states for name in state})
    lines = [line.strip() for line in commands.splitlines() if line.strip()]
    check_count("lines of commands", len(lines), MAX_KEYFRAMES // 2 - 1)
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
        return ()
    keys.setdefault(max(frame - 1, max(keys)), (state, "hold"))
    keyframes = [
        Keyframe(at / rate, {name: values.get(name, CHANNELS[name].neutral or 0.0) for name in used}, ease)
        for at, (values, ease) in sorted(keys.items())
    ]
    return (Layer(keyframes=tuple(keyframes)),)


def _values(sliders: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of channels that sliders give, without neutral ones.

    Raises:
        SettingsError: an unknown slider, or a value out of range.
    """
    unknown = [name for name in sliders if name not in (*SLIDERS, *OTHER_SLIDERS)]
    if unknown:
        known = ", ".join((*SLIDERS, *OTHER_SLIDERS))
        raise SettingsError(f"unknown slider {quoted(unknown[0])}; known are {known}")
    values = {
        SLIDERS[name]: CHANNELS[SLIDERS[name]].check(name, value)
        for name, value in sliders.items()
        if name in SLIDERS
    }
    for name, turns in _HEAD_WITH.items():
        for turn, factor in turns.items():
            # Sums are limited to the range of the turn, as the sliders themselves are.
            added = values.get(turn, 0.0) + factor * values.get(SLIDERS[name], 0.0)
            values[turn] = min(max(added, CHANNELS[turn].low), CHANNELS[turn].high)
    return {name: value for name, value in values.items() if value != CHANNELS[name].neutral}


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
