"""Command `template`."""

from __future__ import annotations

import argparse
import json

from ..errors import MediaError
from .common import (
    TEMPLATES,
    Commands,
    add_network_options,
    add_options,
    check_device,
    check_output,
    network_options,
    parse_settings,
    plain_warnings,
)
from .progress import ProgressLine
from .stop import Stop


def add(commands: Commands) -> None:
    """Add the parser of `template`."""
    parser = commands.add_parser(
        "template",
        help="save a driving clip's motion as a motion template",
        description="Reads the motion of the face in DRIVING with the LivePortrait networks and writes it as a motion "
        "template, which `animate` takes instead of the clip. A .pkl template of upstream LivePortrait is converted.",
    )
    parser.add_argument("driving", metavar="DRIVING", help="clip, picture, or a .pkl template")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        required=True,
        help="motion template; an existing file is replaced",
    )
    add_options(parser)
    add_network_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    output = check_output(options.output, options.driving)
    if output.suffix.lower() != ".safetensors":
        raise MediaError(options.output, "a motion template must end in .safetensors")
    from ..engines import create_engine
    from ..engines.liveportrait.engine import LivePortraitEngine
    from ..engines.liveportrait.record import record_template
    from ..engines.liveportrait.template import read_template, write_template

    if options.driving.lower().endswith(TEMPLATES):
        template = read_template(options.driving)
    else:
        device = check_device(options.device, for_networks=True)
        with plain_warnings():
            engine = create_engine("liveportrait", device, **network_options(options))
        assert isinstance(engine, LivePortraitEngine)
        with ProgressLine() as line, plain_warnings():
            template = record_template(
                options.driving,
                engine,
                settings,
                motion,
                on_frames=lambda frames: line.show_count(frames, None, "reading motion"),
                cancelled=stop,
            )
    write_template(output, template)
    report = {
        "output": str(output),
        "frames": len(template),
        "frames_without_face": len(template) - int(template.present.sum()),
        "rate": None if template.rate is None else str(template.rate),
    }
    if options.json:
        print(json.dumps(report))
        return
    if template.rate is None:
        print(f"{output}: a still")
        return
    print(
        f"{output}: {report['frames']} frames, {float(template.rate):.5g} fps, "
        f"{report['frames_without_face']} without a face"
    )
