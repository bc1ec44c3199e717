"""Command `express`, and the options for expressions."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError, SettingsError
from ..expression import CHANNELS, Expression
from ..text import quoted
from .animate import describe
from .boxes import add_box_options, parse_boxes
from .common import (
    Commands,
    add_network_options,
    add_options,
    check_output,
    make_local_engine,
    parameter_help,
    parse_settings,
    plain_warnings,
)
from .progress import ProgressLine
from .stop import Stop

if TYPE_CHECKING:
    from ..engines.base import RenderedFrames
    from ..plan import RunPlan

PICTURES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Extensions of pictures, and Pillow's names of their formats."""


def add(commands: Commands) -> None:
    """Add the parser of `express`."""
    parser = commands.add_parser(
        "express",
        help="edit the expression of a face in a clip or picture",
        description="Edits the expression of the face in SOURCE, a clip or a picture, without a driving clip. A "
        "picture gives a picture, or a clip where the expression changes over time.",
        epilog=f"{_channel_help()}\n\n{parameter_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="clip or picture with the face to edit")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="output file, a video or .png, .webp or .jpg; an existing one is replaced",
    )
    parser.add_argument(
        "--set-channel",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a channel throughout; may be given several times",
    )
    parser.add_argument(
        "--expression", metavar="E.json", help="read an expression from a file: docs/expression.md"
    )
    parser.add_argument("--engine", default="draft", help="draft or liveportrait (default: draft)")
    add_box_options(parser)
    add_options(parser)
    add_network_options(parser)
    parser.set_defaults(run=_run)


def parse_channels(assignments: list[str]) -> Expression:
    """Parse `name=value` texts; the last value of a name counts.

    Raises:
        SettingsError: a text has no `=`, the name is unknown, or the value violates the channel's rule.
    """
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set-channel takes name=value, got {quoted(assignment)}")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = text
    return Expression.from_dict({"version": 1, "layers": [{"channels": values}]}) if values else Expression()


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    if not options.set_channel and not options.expression:
        raise SettingsError("express takes --set-channel or --expression, got neither; give one or both")
    expression = Expression.read(options.expression) if options.expression else Expression()
    expression += parse_channels(options.set_channel)
    inputs = [options.source, *([options.expression] if options.expression else [])]
    output = check_output(options.output, *inputs)
    if options.engine not in ("draft", "liveportrait"):
        raise SettingsError(
            f"--engine must be draft or liveportrait, got {options.engine!r}; the hosted model edits no expressions"
        )
    from ..media import Clip
    from ..plan import Role, make_plan
    from ..run import run_plan

    boxes = parse_boxes(options, settings.input_face_index)
    plan = make_plan(Clip(options.source), Role(None, settings, motion, boxes=boxes, expression=expression))
    is_picture = output.suffix.lower() in PICTURES
    if is_picture:
        _check_picture(output, plan)
    with plain_warnings():
        engine = make_local_engine(options)
    got: list[RenderedFrames] = []
    with ProgressLine() as line, plain_warnings():
        result = run_plan(
            plan,
            engine=engine,
            output=None if is_picture else output,
            sink=got.append if is_picture else None,
            alpha=is_picture and PICTURES[output.suffix.lower()] != "JPEG",
            on_progress=line.show,
            cancelled=stop,
        )
    if is_picture:
        _write_picture(output, got[0])
        result = replace(result, output=output)
    print(json.dumps(result.to_dict()) if options.json else describe(result))


def _check_picture(output: Path, plan: RunPlan) -> None:
    if plan.frame_count > 1:
        raise MediaError(
            output,
            f"a picture has one frame, and the result has {plan.frame_count}; give the output a name in .mp4",
        )
    if not output.parent.is_dir():
        raise MediaError(output, f"there is no directory {output.parent}; create it first")
    if output.is_dir():
        raise MediaError(output, "is a directory; give a file name")


def _write_picture(output: Path, rendered: RenderedFrames) -> None:
    from PIL import Image

    from ..files import atomic_write

    with atomic_write(output) as part:
        Image.fromarray(rendered.frames[0].numpy()).save(part, PICTURES[output.suffix.lower()], quality=95)


def _channel_help() -> str:
    """Return the help text of all channels: name, neutral value, meaning and range."""
    lines = ["channels for --set-channel, with their neutral values:"]
    for name, channel in CHANNELS.items():
        neutral = "the face's own" if channel.neutral is None else f"{channel.neutral:g}"
        lines.append(f"  {name}={neutral}\n      {channel.help} From {channel.low:g} to {channel.high:g}.")
    return "\n".join(lines)
