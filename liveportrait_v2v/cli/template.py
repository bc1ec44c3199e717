"""Command `template`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ..errors import MediaError, SettingsError
from ..files import TEMPLATES
from .common import (
    Commands,
    add_network_options,
    add_options,
    check_output,
    make_local_engine,
    parse_settings,
    plain_warnings,
)
from .progress import ProgressLine
from .stop import Stop

if TYPE_CHECKING:
    from ..media import Clip
    from ..plan import MotionTemplate
    from ..settings import AnimationSettings, MotionOptions

_ENGINES = ("liveportrait", "draft")


def add(commands: Commands) -> None:
    """Add the parser of `template`."""
    parser = commands.add_parser(
        "template",
        help="save a driving clip's motion as a motion template",
        description="Reads the motion of the face in DRIVING and writes it as a motion template, which `animate` takes "
        "instead of the clip, with the same engine. Motion in LivePortrait's format (.pkl) is converted.",
    )
    parser.add_argument(
        "driving", metavar="DRIVING", help="clip, picture, or motion in LivePortrait's format, .pkl"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        required=True,
        help="motion template; an existing file is replaced",
    )
    parser.add_argument(
        "--engine",
        default="liveportrait",
        help="engine that reads the motion and takes the template: liveportrait, with its networks, or draft "
        "(default: liveportrait)",
    )
    add_options(parser)
    add_network_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    output = check_output(options.output, options.driving)
    if output.suffix.lower() != ".safetensors":
        raise MediaError(options.output, "a motion template must end in .safetensors")
    if options.engine not in _ENGINES:
        raise SettingsError(f"--engine must be one of {', '.join(_ENGINES)}, got {options.engine!r}")
    from ..media import Clip
    from ..templates import note_of_length, read_template, write_template

    if options.driving.lower().endswith(TEMPLATES):
        template, note = read_template(options.driving), None
        if template.engine != options.engine:
            raise SettingsError(
                f"{options.driving} has motion of the {template.engine} engine, got --engine {options.engine}; only a "
                "clip can be recorded for another engine"
            )
    else:
        clip = Clip(options.driving)
        template = _recorded(clip, options, settings, motion, stop)
        note = note_of_length(clip, template)
    write_template(output, template)
    rate = template.info.rate
    report = {
        "output": str(output),
        "engine": template.engine,
        "frames": len(template),
        "frames_without_face": len(template) - int(template.present.sum()),
        "rate": None if rate is None else str(rate),
    }
    if options.json:
        print(json.dumps(report))
        return
    if rate is None:
        print(f"{output}: a still")
    else:
        print(
            f"{output}: {report['frames']} frames, {float(rate):.5g} fps, "
            f"{report['frames_without_face']} without a face"
        )
    if note is not None:
        print(note)


def _recorded(
    clip: Clip, options: argparse.Namespace, settings: AnimationSettings, motion: MotionOptions, stop: Stop
) -> MotionTemplate:
    from ..templates import record_template

    with plain_warnings():
        engine = make_local_engine(options)
    with ProgressLine() as line, plain_warnings():
        return record_template(
            clip,
            engine,
            settings,
            motion,
            on_frames=lambda frames: line.show_count(frames, None, "reading motion"),
            cancelled=stop,
        )
