"""JSON schemas of the files that commands take: roles and expressions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from liveportrait_v2v.cli.roles import KEYS
from liveportrait_v2v.expression import (
    CHANNELS,
    EASES,
    MAX_KEYFRAMES,
    MAX_LAYERS,
    MAX_SECONDS,
    MAX_STRENGTH,
    OTHER_SLIDERS,
    SLIDERS,
    VERSION,
)
from liveportrait_v2v.settings import AnimationSettings, MotionOptions


def roles_schema() -> dict[str, Any]:
    """Return the JSON schema of a file for `animate --roles`."""
    number = {"type": "integer", "minimum": 0, "maximum": AnimationSettings.rules()["input_face_index"].high}
    properties = {
        "driving": {
            "type": "string",
            "minLength": 1,
            "description": "Path of the driving clip, picture or motion template, relative to this file's folder.",
        },
        "source_face": {
            "anyOf": [number, {"const": "all"}],
            "description": "Number of the source's face; all gives each of them this role. Without it "
            "input_face_index of the settings.",
        },
        "drive_face": {
            **number,
            "description": "Number of the driving clip's face. Without it drive_face_index of the settings.",
        },
        "box": {
            "type": ["array", "object"],
            "description": "Place of the source's face where no detector finds it, for the liveportrait engine: x, y, "
            "width, height in pixels, or in shares of the frame; one for the first frame, or one for each frame.",
        },
        "expression": {
            "anyOf": [{"type": "string", "minLength": 1}, {"$ref": "expression.schema.json"}],
            "description": "Expression that is added to the driving motion, or edits the face alone: an object, or the "
            "path of its file, relative to this file's folder.",
        },
        "settings": _parameter_schema(AnimationSettings),
        "options": _parameter_schema(MotionOptions),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Roles of liveportrait-v2v animate",
        "description": "Written by `make docs` from liveportrait_v2v/settings.py: edit that file instead.",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "roles": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {key: properties[key] for key in KEYS},
                    "anyOf": [{"required": ["driving"]}, {"required": ["expression"]}],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["roles"],
        "additionalProperties": False,
    }


def expression_schema() -> dict[str, Any]:
    """Return the JSON schema of an expression, and of what the old editor had."""

    def number(low: float, high: float, description: str) -> dict[str, Any]:
        return {"type": "number", "minimum": low, "maximum": high, "description": description}

    def closed(properties: dict[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
        whole = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**whole, "required": list(required)} if required else whole

    def channel(name: str) -> dict[str, Any]:
        return number(CHANNELS[name].low, CHANNELS[name].high, CHANNELS[name].help)

    channels = closed({name: channel(name) for name in CHANNELS})
    keyframe = {
        "time": number(0, MAX_SECONDS, "Seconds of the result."),
        "channels": {"$ref": "#/$defs/channels", "minProperties": 1},
        "ease": {
            "enum": list(EASES),
            "description": "Way to each channel's next keyframe; linear if left out.",
        },
    }
    layer = {
        "channels": {"$ref": "#/$defs/channels", "description": "Constant values."},
        "keyframes": {
            "type": "array",
            "maxItems": MAX_KEYFRAMES,
            "items": closed(keyframe, ("time", "channels")),
            "description": "Values over time, of channels that are not constant, in order of time. Before its first "
            "keyframe a channel has that one's value, and behind its last one the last one's.",
        },
        "start": number(
            0, MAX_SECONDS, "Seconds from which the layer acts; that of the first keyframe if left out."
        ),
        "end": number(0, MAX_SECONDS, "Seconds up to which it acts; that of the last keyframe if left out."),
        "blend_in": number(0, MAX_SECONDS, "Seconds over which it sets in, from start on."),
        "blend_out": number(0, MAX_SECONDS, "Seconds over which it ends, before end."),
        "strength": number(0, MAX_STRENGTH, "Factor of all that the channels add; 1 if left out."),
    }
    sliders = {
        **{slider: channel(name) for slider, name in SLIDERS.items()},
        **{name: {"description": "Without effect."} for name in OTHER_SLIDERS},
    }
    own = {
        "$schema": {"type": "string"},
        "version": {"const": VERSION},
        "layers": {"type": "array", "maxItems": MAX_LAYERS, "items": {"$ref": "#/$defs/layer"}},
    }
    commands = {
        "sliders": {"type": "array", "maxItems": MAX_LAYERS, "items": {"$ref": "#/$defs/sliders"}},
        "command": {"type": "string", "description": "Lines index = change:keep, in frames."},
        "rate": number(1, 1000, "Frames per second of the command; 25 if left out."),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Expression of liveportrait-v2v",
        "description": "Written by `make docs` from liveportrait_v2v/expression/: edit that instead. The first "
        "form is ours, the others are the old editor's sliders, and its commands with the sliders of each expression.",
        "oneOf": [
            closed(own, ("version", "layers")),
            {"$ref": "#/$defs/sliders", "minProperties": 1},
            closed(commands, ("sliders", "command")),
        ],
        "$defs": {"channels": channels, "layer": closed(layer), "sliders": closed(sliders)},
    }


def _parameter_schema(kind: type[AnimationSettings] | type[MotionOptions]) -> dict[str, Any]:
    """Return the schema of an object of parameters."""
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    parameters = {}
    for name, rule in kind.rules().items():
        facts = {"minimum": rule.low, "maximum": rule.high, "enum": list(rule.choices) or None}
        given = {key: value for key, value in facts.items() if value is not None}
        values = {"type": types[rule.type], **given}
        if rule.words:
            values = {"anyOf": [values, {"enum": list(rule.words)}]}
        parameters[name] = {**values, "description": rule.help}
    return {"type": "object", "properties": parameters, "additionalProperties": False}
