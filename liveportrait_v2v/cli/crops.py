"""Commands `crop` and `paste`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError
from .boxes import add_box_options, parse_boxes
from .common import Commands, add_options, check_device, check_output, parse_settings
from .progress import ProgressLine
from .stop import Stop

if TYPE_CHECKING:
    import torch

CRF = 8
"""Quality of a file of crops: they are pasted back after it was read again."""


def add(commands: Commands) -> None:
    """Add the parsers of `crop` and `paste`."""
    crop = commands.add_parser(
        "crop",
        help="cut a clip's face out, for other tools to work on",
        description="Cuts the square that an animation with the same parameters would paste out of each frame of "
        "SOURCE, dsize pixels a side, and writes where each one lies to a placement file. Frames without the face are "
        "in the placement, not in the crops.",
    )
    crop.add_argument("source", metavar="SOURCE", help="clip or picture")
    crop.add_argument("-o", "--output", metavar="CROPS.mp4", required=True, help="video of the crops")
    crop.add_argument(
        "--placement", metavar="P.safetensors", required=True, help="where the crops lie; docs/crops.md"
    )
    add_box_options(crop)
    add_options(crop)
    crop.set_defaults(run=_crop)
    paste = commands.add_parser(
        "paste",
        help="paste crops back into the clip that they were cut from",
        description="Pastes CROPS, of any size, back into SOURCE where the placement file says.",
    )
    paste.add_argument("source", metavar="SOURCE", help="the clip or picture that was cropped")
    paste.add_argument("crops", metavar="CROPS", help="video, or picture, of the crops in their order")
    paste.add_argument("--placement", metavar="P.safetensors", required=True, help="as `crop` wrote it")
    paste.add_argument("-o", "--output", metavar="OUT.mp4", required=True, help="output file")
    paste.add_argument(
        "--mask", metavar="M.mp4", help="opacity of each crop, in grey levels, in place of the usual border"
    )
    paste.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    paste.set_defaults(run=_paste)


def _crop(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    output = check_output(options.output, options.source)
    placement_path = _placement_path(options.placement)
    from ..media import Clip, VideoWriter
    from ..plan.pairing import STILL_RATE
    from ..run.crops import FaceCropper

    clip = Clip(options.source)
    boxes = parse_boxes(options, settings.input_face_index)
    faces = None if boxes is None else (boxes,)
    cropper = FaceCropper(clip, settings, motion, faces=faces, device=check_device(options.device))
    total, done = clip.info.frame_count, 0
    with ProgressLine() as line, VideoWriter(output, clip.info.rate or STILL_RATE, crf=CRF) as writer:
        for part in cropper.crops(cancelled=stop):
            if len(part.pictures):
                writer.write(part.pictures)
            done += part.frames
            line.show_count(done, total, "cutting faces out")
        placement = cropper.placement  # or the error that there is no face, before anything is written
    placement.write(placement_path)
    report = {
        "output": str(output),
        "placement": str(placement_path),
        "crops": placement.crop_count,
        "frames": len(placement),
    }
    if options.json:
        print(json.dumps(report))
        return
    size = f"{settings.dsize}x{settings.dsize}"
    print(f"{output}: {placement.crop_count} crops of {size} from {len(placement)} frames\n{placement_path}")


def _paste(options: argparse.Namespace, stop: Stop) -> None:
    inputs = [options.source, options.crops, *([options.mask] if options.mask else [])]
    output = check_output(options.output, *inputs)
    from ..media import Clip
    from ..placement import Placement
    from ..run.paste import paste

    placement = Placement.read(options.placement)
    masks = None if options.mask is None else (picture[..., 1] / 255 for picture in _pictures(options.mask))
    with ProgressLine() as line:
        result = paste(
            Clip(options.source),
            placement,
            _pictures(options.crops),
            masks,
            output=output,
            on_frames=lambda done: line.show_count(done, len(placement), "pasting crops"),
            cancelled=stop,
        )
    if options.json:
        report = {
            "output": str(output),
            "frames": result.frames,
            "rate": str(result.rate),
            "notes": list(result.notes),
        }
        print(json.dumps(report))
        return
    print(
        "\n".join((f"{output}: {result.frames} frames, {placement.crop_count} crops pasted", *result.notes))
    )


def _pictures(path: str) -> Iterator[torch.Tensor]:
    from ..media import Clip

    for chunk in Clip(path).chunks(8):
        yield from chunk.frames


def _placement_path(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() != ".safetensors":
        raise MediaError(name, "a placement must end in .safetensors")
    if not path.parent.is_dir():
        raise MediaError(name, f"there is no directory {path.parent}; create it first")
    return path
