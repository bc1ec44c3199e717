"""Command `animate`."""

from __future__ import annotations

import argparse
import base64
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import MAX_MESSAGE, SettingsError
from ..expression import Expression
from ..files import TEMPLATES
from ..text import one_line
from . import segmind
from .boxes import add_box_options, parse_boxes
from .common import (
    Commands,
    add_network_options,
    add_options,
    check_network_options,
    check_output,
    make_local_engine,
    parameter_help,
    parse_settings,
    plain_warnings,
)
from .progress import ProgressLine
from .roles import RoleText, add_role_options, open_roles, parse_roles
from .stop import Stop

if TYPE_CHECKING:
    from ..engines.base import Engine, HostedEngine
    from ..media import Clip
    from ..plan import MotionTemplate
    from ..run import Result


def add(commands: Commands) -> None:
    """Add the parser of `animate`."""
    parser = commands.add_parser(
        "animate",
        help="animate a clip or picture with the motion of a driving clip",
        description="Animates the face in SOURCE, a clip or a picture, with the motion of the face in DRIVING, or "
        "several faces with a driving clip each.",
        epilog=parameter_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="clip or picture with the face to animate; for segmind also a public URL",
    )
    parser.add_argument(
        "driving",
        metavar="DRIVING",
        nargs="?",
        help="clip or picture with the motion, or a motion template of the engine; for segmind a public URL",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT.mp4", required=True, help="output file; an existing one is replaced"
    )
    parser.add_argument("--engine", default="draft", help="draft, liveportrait or segmind (default: draft)")
    parser.add_argument(
        "--mask-output",
        metavar="MASK.mp4",
        help="also write the opacity of what was pasted, in grey levels; segmind has none",
    )
    parser.add_argument(
        "--depth",
        type=int,
        default=8,
        choices=(8, 10),
        help="bits a colour of OUT.mp4 (default: 8); of 10, a source of 10 bits keeps them where no face is pasted",
    )
    parser.add_argument(
        "--expression",
        metavar="E.json",
        help="add the expression of a file to the driving motion: docs/expression.md",
    )
    add_role_options(parser)
    add_box_options(parser)
    add_options(parser)
    add_network_options(parser)
    segmind.add_engine_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    texts = parse_roles(options, settings, motion)
    boxes = parse_boxes(options, settings.input_face_index)
    if boxes is not None and texts is not None:
        raise SettingsError("--box and --boxes go with DRIVING; in a file of roles, give each role its box")
    expression = Expression.read(options.expression) if options.expression else None
    if options.roles and expression is not None:
        raise SettingsError(
            "--expression goes with DRIVING or --face; in a file of roles, give each role its own"
        )
    if expression is not None and texts is not None:
        texts = [replace(text, expression=expression) for text in texts]
    elif boxes is not None or expression is not None:
        texts = [RoleText(options.driving, settings, motion, boxes=boxes, expression=expression)]
    inputs = (
        [options.driving] if texts is None else [text.driving for text in texts if text.driving is not None]
    )
    inputs += [options.expression] if options.expression else []
    output = check_output(options.output, options.source, *inputs)
    mask = check_output(options.mask_output, options.source, *inputs) if options.mask_output else None
    from ..engines import ENGINES
    from ..run import animate

    if options.engine not in ENGINES:
        raise SettingsError(f"--engine must be one of {', '.join(ENGINES)}, got {options.engine!r}")
    driving = None if texts is not None else _template_or_path(options.driving)
    with plain_warnings():
        engine = _make_engine(options)
    run = partial(
        animate,
        options.source,
        engine=engine,
        output=output,
        mask_output=mask,
        cancelled=stop,
        depth=options.depth,
    )
    with ProgressLine() as line, plain_warnings():
        if texts is None:
            result = run(driving, settings=settings, options=motion, on_progress=line.show)
        else:
            roles = open_roles(texts, partial(_open_driving, engine=engine, stop=stop))
            result = run(roles=roles, on_progress=line.show)
    if options.json:
        as_text = settings.base64 if texts is None else any(text.settings.base64 for text in texts)
        encoded = {"base64": base64.b64encode(output.read_bytes()).decode()} if as_text else {}
        print(json.dumps({**result.to_dict(), **encoded}))
        return
    print(describe(result))


def _template_or_path(driving: str) -> str | MotionTemplate:
    if not driving.lower().endswith(TEMPLATES):
        return driving
    from ..templates import read_template

    return read_template(driving)


def _open_driving(driving: str, engine: Engine | HostedEngine, stop: Stop) -> Clip | MotionTemplate:
    from ..engines import HostedEngine
    from ..media import Clip

    found = _template_or_path(driving)
    if not isinstance(found, str):
        return found
    return engine.clip(found, stop) if isinstance(engine, HostedEngine) else Clip(found)


def _make_engine(options: argparse.Namespace) -> Engine | HostedEngine:
    check_network_options(options)
    return segmind.make_engine(options) if options.engine == "segmind" else make_local_engine(options)


def describe(result: Result) -> str:
    """Describe a result in a few lines: output, faces, frames without one, notes, paid job, time taken."""
    audio = f"audio of the {result.audio_source} clip" if result.audio_source else "no audio"
    stages = [f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items() if name != "total"]
    lines = [
        f"{result.output}: {result.frames} frames, {result.size[0]}x{result.size[1]}, "
        f"{float(result.rate):.5g} fps, {float(result.duration):.2f} s, {audio}"
    ]
    lines += [str(face) for face in result.faces]
    if result.frames_without_source_face is not None:
        lines.append(
            f"without a face: {result.frames_without_source_face} source frames, "
            f"{result.frames_without_driving_face} driving frames; gaps of up to 0.2 s are bridged, "
            "longer ones show the source"
        )
    lines += result.notes
    if result.job is not None:
        lines.append(segmind.describe(result.job))
    lines.append(f"took {result.seconds['total']:.1f} s ({', '.join(stages)}; stages overlap)")
    return "\n".join(one_line(line, MAX_MESSAGE) for line in lines)
