"""Inputs and outputs that several nodes have, and the schema of those that animate."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .another_face import ROLES
from .boxes import boxes_input
from .expression import EXPRESSION
from .host import CATEGORY
from .motion import MOTION
from .motion_options import OPTIONS
from .settings import SETTINGS

PLACEMENT = io.Custom("LPV2V_PLACEMENT")
HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt]


def _inputs(clips_optional: bool) -> list[io.Input]:
    """Return the first inputs of every node that animates; an engine's own come after them."""
    clip = [io.Video, io.Image]
    return [
        io.MultiType.Input(
            "source",
            clip,
            optional=clips_optional,
            tooltip="Video or image with the face to animate. A batch of images has the rate of source_fps, and the "
            "sound of source_audio.",
        ),
        io.MultiType.Input(
            "driving",
            [*clip, MOTION],
            optional=True,
            tooltip="Video or image with the motion; for Animate Draft and Animate Local also motion of Record Motion "
            "or Load Motion. For a batch of images with sound, link Create Video.",
        ),
        SETTINGS.Input(
            "settings", optional=True, tooltip="From LivePortrait Settings; without it the defaults."
        ),
        OPTIONS.Input(
            "motion_options",
            optional=True,
            tooltip="From LivePortrait Motion Options; without it the defaults.",
        ),
        frames_switch(),
    ]


def _roles() -> io.Input:
    """Return the input for more faces: the last one, as saved graphs have the others at their places."""
    return ROLES.Input(
        "roles",
        optional=True,
        tooltip="More faces, each with a driving clip of its own, from Another Face (LivePortrait).",
    )


def frames_switch() -> io.Input:
    """Return the switch of the images output."""
    return io.Boolean.Input(
        "frames",
        default=True,
        advanced=True,
        tooltip="Give the result as images where a node is linked to them: 12 bytes of memory a pixel, 0.8 GB for "
        "10 s of 640x360 at 30 frames a second. Off: never.",
    )


def _boxes() -> io.Input:
    return boxes_input(
        "Place of the source's face where no detector finds it, a cat's or a cartoon's: one box for the first frame, "
        "which is followed, or one for each frame; of several in a frame, the one that input_face_index numbers. For "
        "Animate Local; Animate Draft needs a face that is found."
    )


def _expression() -> io.Input:
    return EXPRESSION.Input(
        "expression",
        optional=True,
        tooltip="From Expression (LivePortrait): added to the driving motion. Without a driving clip the source is "
        "edited alone; a picture stays a picture unless the expression has keyframes.",
    )


def _image_batch() -> list[io.Input]:
    """Return the inputs for what a source of images lacks: behind all others, as saved graphs have those."""
    return [
        io.Audio.Input(
            "source_audio",
            optional=True,
            tooltip="Sound of a source that is a batch of images; a video has its own.",
        ),
        io.Float.Input(
            "source_fps",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.001,
            optional=True,
            advanced=True,
            tooltip="Frame rate of a source that is a batch of images. 0 takes the driving video's.",
        ),
    ]


def outputs() -> list[io.Output]:
    """Return the outputs of every node that animates."""
    return [
        io.Image.Output("images", display_name="images", tooltip="The frames, built where this is linked."),
        io.Audio.Output(
            "audio", display_name="audio", tooltip="Exactly as long as the video; silence if it has none."
        ),
        io.Video.Output("video", display_name="video", tooltip="A file: keep it with Save Video."),
        io.Float.Output("fps", display_name="fps"),
        io.Int.Output("frame_count", display_name="frame_count"),
        report_output(),
    ]


def report_output() -> io.Output:
    """Return the output for the report: behind the others, as saved graphs have those at their places."""
    return io.String.Output(
        "report",
        display_name="report",
        tooltip="The result in a few lines. To read it, link Preview as Text.",
    )


def _local_outputs(crops: bool) -> list[io.Output]:
    """Return what local engines give besides, behind the report, as saved graphs have the others at their places."""
    made = [
        io.Mask.Output(
            "mask",
            display_name="mask",
            tooltip="What was pasted over the source, frame by frame, built where this is linked: 4 bytes of memory "
            "a pixel.",
        ),
        PLACEMENT.Output(
            "placement",
            display_name="placement",
            tooltip="Where the faces lie in the frames, for Paste Back (LivePortrait).",
        ),
    ]
    if crops:
        own = io.Image.Output(
            "crops",
            display_name="crops",
            tooltip="The networks' own pictures of 512x512 before they are pasted, built where this is linked. "
            "Restore or upscale them, then paste them into images with Paste Back (LivePortrait).",
        )
        made.append(own)
    return made


def animation(
    clips_optional: bool = False, local: bool = False, crops: bool = False, **options: Any
) -> io.Schema:
    """Return the schema of a node that animates.

    Args:
        clips_optional: source and driving clip need no link.
        local: the engine animates several faces, and gives mask and placement.
        crops: it gives its own crops.
        options: of the schema; `inputs` are the engine's own.
    """
    own = list(options.pop("inputs", []))
    if local:
        own = [*own, _roles()]
    own += _image_batch()
    if local:
        own += [_boxes(), _expression()]
    return io.Schema(
        category=CATEGORY,
        inputs=[*_inputs(clips_optional), *own],
        outputs=[*outputs(), *(_local_outputs(crops) if local else [])],
        hidden=HIDDEN,
        **options,
    )
