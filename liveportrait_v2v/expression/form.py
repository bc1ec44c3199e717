"""The JSON form of expressions: text and objects from outside to layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SettingsError
from ..text import quoted
from .layers import LAYER_TIMES, MAX_KEYFRAMES, MAX_LAYERS, Keyframe, Layer, check_count
from .old_editor import SLIDERS, command_layers, slider_layers

VERSION = 1
"""Of the JSON form."""
MAX_JSON_BYTES = 8 << 20
"""Size of a file at most: 10,000 keyframes of all channels take less."""


def parsed(text: str | bytes) -> Any:
    """Return the object of a JSON text.

    Raises:
        SettingsError: it is no JSON, too large, or has numbers or names that JSON doesn't allow.
    """
    check_count("the JSON's bytes", len(text), MAX_JSON_BYTES)
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
    except SettingsError:
        raise
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"an expression must be JSON: {error}") from None


def layers_of(form: Any) -> tuple[Layer, ...]:
    """Return the layers of a form, ours or the old editor's.

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
    items = _list("layers", form.get("layers"))
    check_count("layers", len(items), MAX_LAYERS)
    made = []
    for place, item in enumerate(items):
        try:
            made.append(_layer(item))
        except SettingsError as error:
            raise SettingsError(f"layer {place + 1}: {error}") from None
    return tuple(made)


def _of_old_editor(form: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Return the layers of sliders, or of {"sliders": [...], "command": ..., "rate": ...}."""
    if "command" not in form and "sliders" not in form:
        if form and set(form) & set(SLIDERS) and "layers" not in form:
            return slider_layers(form)
        raise SettingsError(f"an expression must have a version, which is {VERSION}, got none")
    _check_keys(form, ("sliders", "command", "rate"), "what the old editor had")
    sliders, command = _list("sliders", form.get("sliders")), form.get("command")
    for item in sliders:
        if not isinstance(item, Mapping):
            raise SettingsError(f"sliders must be an object for each expression, got {quoted(item)}")
    if not isinstance(command, str):
        raise SettingsError(f"command must be text, got {quoted(command)}")
    return command_layers(command, sliders, form.get("rate", 25))


def _layer(form: Any) -> Layer:
    if not isinstance(form, Mapping):
        raise SettingsError(f"must be an object, got {quoted(form)}")
    _check_keys(form, ("channels", "keyframes", *LAYER_TIMES, "strength"), "a layer")
    items = _list("keyframes", form.get("keyframes", []))
    check_count("keyframes", len(items), MAX_KEYFRAMES)
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


def _check_keys(form: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = [key for key in form if key not in known]
    if unknown:
        raise SettingsError(f"unknown key {quoted(unknown[0])} of {what}; known are {', '.join(known)}")


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
