"""Faces that a box gives on the command line: `--box` and `--boxes`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .common import read_json

if TYPE_CHECKING:
    from ..faces.given import FaceBoxes


def add_box_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that give a face where no detector finds it."""
    group = parser.add_argument_group("a face that no detector finds, by its place in the source")
    group.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="box of the face from brow to chin in the first frame, in pixels, or shares of the frame where none is "
        "above 1; it is followed through the clip",
    )
    group.add_argument(
        "--boxes",
        metavar="FILE.json",
        help="boxes of the face for each frame; where a frame lists several, input_face_index is the one",
    )


def parse_boxes(options: argparse.Namespace, number: int) -> FaceBoxes | None:
    """Return the face that `--box` or `--boxes` give; None without them.

    Args:
        number: of the face where a frame of the file lists several.

    Raises:
        SettingsError: both are given, or a box of another form.
        MediaError: the file can't be read, or is no JSON.
    """
    from ..faces.given import FaceBoxes

    if options.box and options.boxes:
        raise SettingsError("give one of --box and --boxes, got both")
    if options.box:
        return FaceBoxes.parse(_numbers(options.box))
    return read_boxes(Path(options.boxes), number) if options.boxes else None


def _numbers(text: str) -> list[float]:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--box takes X,Y,W,H, four numbers, got {text!r}") from None
    return [x, y, width, height]


def read_boxes(path: Path, number: int) -> FaceBoxes:
    """Read a file of boxes in one of the forms of `FaceBoxes.parse`.

    Raises:
        MediaError: the file can't be read, or is no JSON.
        SettingsError: it has another form.
    """
    from ..faces.given import FaceBoxes

    value = read_json(path)
    try:
        return FaceBoxes.parse(value, number)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
