#!/usr/bin/env python3
"""Write the texts that follow from the code: parameter tables, English node texts, parts of the help pages.

    python scripts/make_docs.py

The node schemas come from the pack inside the tests' stand-in for ComfyUI.
"""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import json
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

from liveportrait_v2v.cli.roles import KEYS  # noqa: E402 - from ROOT
from liveportrait_v2v.expression import (  # noqa: E402 - from ROOT
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
from liveportrait_v2v.settings import PRESETS, AnimationSettings, MotionOptions, Rule  # noqa: E402 - from ROOT

PARAMETERS = ROOT / "docs" / "parameters.md"
ROLES = ROOT / "docs" / "roles.schema.json"
EXPRESSION = ROOT / "docs" / "expression.schema.json"
EXPRESSION_PAGE = ROOT / "docs" / "expression.md"
ENGLISH = ROOT / "locales" / "en" / "nodeDefs.json"
PAGES = {
    "LPV2V_Settings": (ROOT / "web" / "docs" / "LPV2V_Settings.md", AnimationSettings),
    "LPV2V_MotionOptions": (ROOT / "web" / "docs" / "LPV2V_MotionOptions.md", MotionOptions),
}

OWN_WORDS = ("LPV2V_AnimateDraft", "LPV2V_LoadVideo", "LPV2V_PreviewFaces")
"""Nodes whose translated help pages are written by hand."""
WORDS = {
    "zh": {
        "picture": "默认值下的节点",
        "inputs": "输入",
        "outputs": "输出",
        "advanced": "高级",
        "default": "默认 {}",
        "range": "{} 到 {}",
        "least": "至少 {}",
        "on": "开",
        "off": "关",
        "marks": "（{}）",
        "between": "，",
        "colon": "：",
    },
    "ja": {
        "picture": "既定値のノード",
        "inputs": "入力",
        "outputs": "出力",
        "advanced": "詳細",
        "default": "既定値 {}",
        "range": "{} から {}",
        "least": "{} 以上",
        "on": "オン",
        "off": "オフ",
        "marks": "（{}）",
        "between": "、",
        "colon": "：",
    },
}
"""What the translated help pages say around the texts of locales/."""

PARAMETERS_INTRO = """\
# Parameters

<!-- Written by `make docs` from liveportrait_v2v/settings.py: edit that file instead. -->

A wrong name, type or value raises a `SettingsError` that names the parameter, its rule and the value.
"""
SETTINGS_INTRO = """\
## AnimationSettings

The parameters of the hosted model `live-portrait-video-to-video`, with its names, ranges and defaults. Every engine
accepts them.
"""
OPTIONS_INTRO = """\
## MotionOptions

Options of local engines. A value other than the default of an option that an engine does not support is an error.
"""
PRESETS_INTRO = """\
## Presets

The node LivePortrait Settings offers them. The values of a preset override those of the widgets.
"""
ADVANCED_INTRO = 'Inputs marked as advanced may be folded away; "Show advanced inputs" shows them.\n'
WIDGETS_INTRO = (
    "A preset writes its values into the widgets; changing one of them afterwards ends the preset.\n"
)
PRESET_INPUT = "Sets some of the parameters below; default `none`."


def generate(schemas: Mapping[str, Any]) -> dict[Path, str]:
    """Return the text of every generated file.

    Args:
        schemas: the schema of every node, by its id.
    """
    texts = {
        PARAMETERS: parameters_page(),
        ROLES: json.dumps(roles_schema(), indent=2, ensure_ascii=False) + "\n",
        EXPRESSION: json.dumps(expression_schema(), indent=2, ensure_ascii=False) + "\n",
        ENGLISH: json.dumps(
            {node_id: node_texts(schema) for node_id, schema in schemas.items()}, indent=2, ensure_ascii=False
        )
        + "\n",
    }
    page = EXPRESSION_PAGE.read_text(encoding="utf-8")
    texts[EXPRESSION_PAGE] = replace_section(page, "All channels", channel_table())
    for node_id, (path, kind) in PAGES.items():
        page = path.read_text(encoding="utf-8")
        page = replace_section(page, "Inputs", input_list(schemas[node_id], kind))
        if kind is AnimationSettings:
            page = replace_section(page, "Presets", preset_list())
        texts[path] = page
    for language, words in WORDS.items():
        translated = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        for node_id, schema in schemas.items():
            if node_id not in OWN_WORDS:
                path = ROOT / "web" / "docs" / node_id / f"{language}.md"
                texts[path] = translated_page(schema, translated[node_id], words)
    return texts


def node_texts(schema: Any) -> dict[str, Any]:
    """Return a schema's texts in the form of nodeDefs.json."""

    def texts(item: Any) -> dict[str, str]:
        named = {"name": item.display_name or item.id, "tooltip": item.tooltip}
        return {key: value for key, value in named.items() if value}

    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {item.id: texts(item) for item in schema.inputs},
        "outputs": {str(slot): texts(item) for slot, item in enumerate(schema.outputs)},
    }


def translated_page(schema: Any, texts: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Return a help page in another language, of the node's translated texts."""

    def point(name: str, text: Mapping[str, str], marks: list[str]) -> str:
        shown = text.get("name", name)
        head = f"- `{name}`" if shown == name else f"- `{name}` {shown}"
        if marks:
            head += words["marks"].format(words["between"].join(marks))
        # The tooltip ends with the parameter's own name, which stands here at the beginning.
        tooltip = text.get("tooltip", "").removesuffix(f"（{name}）")
        return f"{head}{words['colon']}{tooltip}" if tooltip else head

    inputs = [point(item.id, texts["inputs"].get(item.id, {}), _facts(item, words)) for item in schema.inputs]
    outputs = [
        point(item.display_name or item.id, texts["outputs"].get(str(slot), {}), [])
        for slot, item in enumerate(schema.outputs)
    ]
    parts = [
        f"# {texts['display_name']}",
        texts["description"],
        f"![{words['picture']}]({schema.node_id}.png)",
        f"## {words['inputs']}",
        "\n".join(inputs),
        f"## {words['outputs']}",
        "\n".join(outputs),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(item: Any, words: Mapping[str, str]) -> list[str]:
    """Return what stands behind the name of a widget: advanced, its default and its range."""
    default, low, high = (getattr(item, name, None) for name in ("default", "min", "max"))
    facts = [words["advanced"]] if getattr(item, "advanced", None) else []
    if isinstance(default, bool):
        facts.append(words["default"].format(words[_shown(default)]))
    elif default not in (None, ""):
        facts.append(words["default"].format(_shown(default)))
    if low is not None:
        wide = high is None or high >= 10_000
        facts.append(
            words["least"].format(_shown(low)) if wide else words["range"].format(_shown(low), _shown(high))
        )
    return facts


def parameters_page() -> str:
    """Return docs/parameters.md: a table for each class of parameters, and one of the presets."""
    presets = [
        (
            f"`{name}`",
            preset.help,
            ", ".join(f"`{key}={_plain(value)}`" for key, value in preset.values.items()),
        )
        for name, preset in PRESETS.items()
    ]
    parts = [
        PARAMETERS_INTRO,
        SETTINGS_INTRO,
        _parameter_table(AnimationSettings),
        OPTIONS_INTRO,
        _parameter_table(MotionOptions),
        PRESETS_INTRO,
        _table(("name", "purpose", "values"), presets),
    ]
    return "\n".join(parts)


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


def channel_table() -> str:
    """Return the table of an expression's channels."""
    lines = ["| channel | range | neutral | what it does |", "|---|---|---|---|"]
    for name, channel in CHANNELS.items():
        neutral = "the face's own" if channel.neutral is None else f"{channel.neutral:g}"
        lines.append(f"| `{name}` | {channel.low:g} … {channel.high:g} | {neutral} | {channel.help} |")
    return "\n".join(lines) + "\n"


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
        "description": "Written by `make docs` from liveportrait_v2v/expression.py: edit that file instead. The first "
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


def input_list(schema: Any, kind: type[AnimationSettings] | type[MotionOptions]) -> str:
    """Return the list of a node's inputs for its help page."""
    rules, defaults = kind.rules(), kind().to_dict()
    points = []
    for item in schema.inputs:
        mark = " (advanced)" if item.advanced else ""
        if item.id in rules:
            rule = rules[item.id]
            text = " ".join(filter(None, (_range_text(rule, defaults[item.id]), rule.help, rule.details)))
        else:
            text = PRESET_INPUT
        points.append(_point(f"`{item.id}`{mark}: {text}"))
    return "\n".join([ADVANCED_INTRO, *points, ""])


def preset_list() -> str:
    """Return the list of presets for the help page of LivePortrait Settings."""
    points = []
    for name, preset in PRESETS.items():
        values = ", ".join(f"`{key}` {_shown(value)}" for key, value in preset.values.items())
        points.append(_point(f"`{name}`: {preset.help}.{f' Sets {values}.' if values else ''}"))
    return "\n".join([WIDGETS_INTRO, *points, ""])


def replace_section(page: str, heading: str, body: str) -> str:
    """Return a page with another body below one of its second-level headings."""
    before, rest = page.split(f"\n## {heading}\n")
    after = rest[rest.index("\n## ") :]
    return f"{before}\n## {heading}\n\n{body}{after}"


def _parameter_table(kind: type[AnimationSettings] | type[MotionOptions]) -> str:
    defaults = kind().to_dict()
    rows = [
        (
            f"`{name}`",
            _plain(defaults[name]),
            _range_cell(rule),
            " ".join(filter(None, (rule.help, rule.details))),
        )
        for name, rule in kind.rules().items()
    ]
    return _table(("name", "default", "range", "meaning"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _range_cell(rule: Rule) -> str:
    if rule.type is bool:
        return ""
    if rule.choices:
        return ", ".join(rule.choices)
    return f"≥ {rule.low:g}" if rule.high is None else f"{rule.low:g} … {rule.high:g}"


def _range_text(rule: Rule, default: Any) -> str:
    """Return range and default as a sentence."""
    if rule.type is bool:
        return f"Default {_shown(default)}."
    if rule.choices:
        choices = [f"`{choice}`{' (default)' if choice == default else ''}" for choice in rule.choices]
        return f"{', '.join(choices[:-1])} or {choices[-1]}."
    span = f"{rule.low:g} or more" if rule.high is None else f"{rule.low:g} to {rule.high:g}"
    return f"{span}, default {_shown(default)}."


def _shown(value: Any) -> str:
    """Return a value as its widget shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    # Widgets show no exponents.
    return f"{value:.10f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    """Return a value as `--set NAME=VALUE` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _point(text: str) -> str:
    return textwrap.fill(
        text, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def main() -> None:
    """Write the generated files that differ, and print their paths."""
    import standin_comfyui as standin

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "input").mkdir()
        sys.modules.update(standin.install(standin.Host(Path(folder))))
        nodes = standin.nodes_of(standin.load_pack())
        schemas = {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}
        for path, text in generate(schemas).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
                print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
