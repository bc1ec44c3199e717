"""English texts of nodes and parameters: tables and lists in the docs and help pages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from liveportrait_v2v.expression import CHANNELS
from liveportrait_v2v.settings import PRESETS, AnimationSettings, MotionOptions, Rule

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


def channel_table() -> str:
    """Return the table of an expression's channels."""
    lines = ["| channel | range | neutral | what it does |", "|---|---|---|---|"]
    for name, channel in CHANNELS.items():
        neutral = "the face's own" if channel.neutral is None else f"{channel.neutral:g}"
        lines.append(f"| `{name}` | {channel.low:g} … {channel.high:g} | {neutral} | {channel.help} |")
    return "\n".join(lines) + "\n"


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


def slider_list(schema: Any) -> str:
    """Return the list of the inputs of Expression for its help page."""
    points = []
    for item in schema.inputs:
        mark, default = " (advanced)" if item.advanced else "", getattr(item, "default", None)
        span = (
            "" if default is None else f"{shown(item.min)} to {shown(item.max)}, default {shown(default)}. "
        )
        points.append(_point(f"`{item.id}`{mark}: {span}{item.tooltip}"))
    return "\n".join([ADVANCED_INTRO, *points, ""])


def preset_list() -> str:
    """Return the list of presets for the help page of LivePortrait Settings."""
    points = []
    for name, preset in PRESETS.items():
        values = ", ".join(f"`{key}` {shown(value)}" for key, value in preset.values.items())
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
        return f"Default {shown(default)}."
    if rule.choices:
        choices = [f"`{choice}`{' (default)' if choice == default else ''}" for choice in rule.choices]
        return f"{', '.join(choices[:-1])} or {choices[-1]}."
    span = f"{rule.low:g} or more" if rule.high is None else f"{rule.low:g} to {rule.high:g}"
    return f"{span}, default {shown(default)}."


def shown(value: Any) -> str:
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
