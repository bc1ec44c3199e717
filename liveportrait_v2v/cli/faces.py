"""Command `faces`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import MAX_MESSAGE, MediaError
from ..files import atomic_write
from ..text import one_line
from .common import Commands, add_options, check_device, check_output, parse_settings
from .progress import ProgressLine
from .stop import Stop


def add(commands: Commands) -> None:
    """Add the parser of `faces`."""
    parser = commands.add_parser(
        "faces",
        help="find and number the faces in a clip",
        description="Finds and numbers the faces in SOURCE and draws a contact sheet: each face with its number and "
        "its crop square under the given settings.",
    )
    parser.add_argument("source", metavar="SOURCE", help="clip or picture")
    parser.add_argument(
        "-o",
        "--output",
        metavar="SHEET.png",
        help="contact sheet; an existing file is replaced (default: SOURCE's name + _faces.png in the current folder)",
    )
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    name = options.output or f"{Path(options.source).stem}_faces.png"
    output = _check_sheet(name, options.source)
    from ..media import Clip
    from ..sheet import survey

    clip = Clip(options.source)
    total = clip.info.frame_count
    with ProgressLine() as line:
        found = survey(
            clip,
            settings,
            motion,
            device=check_device(options.device),
            on_frames=lambda frames: line.show_count(frames, total, "looking for faces"),
            cancelled=stop,
        )
    with atomic_write(output) as part:
        found.sheet.save(part, "PNG")
    if options.json:
        print(json.dumps({"source": options.source, "sheet": str(output), **found.to_dict()}))
        return
    for face in found.faces:
        left, top, right, bottom = (round(value) for value in face.box)
        print(
            f"face {face.number}: in {face.frames} of {found.frames} frames, "
            f"first at {float(face.first_seen):.2f} s: {right - left}x{bottom - top} pixels at {left}, {top}"
        )
    for note in found.notes:
        print(one_line(note, MAX_MESSAGE))
    print(f"{found.frames_without_face} frames without a face\n{one_line(str(output), MAX_MESSAGE)}")


def _check_sheet(name: str, source: str) -> Path:
    path = check_output(name, source)
    if path.suffix.lower() != ".png":
        raise MediaError(name, "a contact sheet must end in .png")
    if not path.parent.is_dir():
        raise MediaError(name, f"there is no directory {path.parent}; create it first")
    if path.is_dir():
        raise MediaError(name, "is a directory; give a file name")
    return path
