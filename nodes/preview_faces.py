"""Node Preview Faces (LivePortrait)."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui

from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from .host import CATEGORY, language, reports, running, sockets
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from ..liveportrait_v2v.sheet import Survey

_CELLS = 4
"""Frames on the sheet: it is looked at in the node, some 440 pixels wide."""


_KEPT = 8
_surveys: OrderedDict[Hashable, tuple[Survey, weakref.ref[Any]]] = OrderedDict()
"""The latest results by what they show, each with the value it is of: ComfyUI runs the node again when any setting
changes."""


class PreviewFaces(io.ComfyNode):
    """Finds and numbers the faces in a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_PreviewFaces",
            display_name="Preview Faces (LivePortrait)",
            description="Finds and numbers the faces in a clip. The sheet shows each face with its number for the "
            "settings, and its crop square.",
            search_aliases=[
                "face index",
                "face detection",
                "choose face",
                "face crop",
                "facial landmarks",
                "人脸",
                "顔",
            ],
            is_output_node=True,
            inputs=[
                io.MultiType.Input("clip", [io.Video, io.Image], tooltip="Video or image to find faces in."),
                SETTINGS.Input(
                    "settings", optional=True, tooltip="For the crop squares; without it the defaults."
                ),
                OPTIONS.Input(
                    "motion_options",
                    optional=True,
                    tooltip="For the order of the numbers; without it the default.",
                ),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet"),
                io.Int.Output(
                    "face_count", display_name="face_count", tooltip="Number of faces in the clip."
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="In how many frames each face was found, and cuts.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip, settings=None, motion_options=None) -> io.NodeOutput:
        with running.run(cls) as report:
            found = _survey(clip, settings or AnimationSettings(), motion_options or MotionOptions(), report)
            lines = [f"face {face.number} in {face.frames} of {found.frames} frames" for face in found.faces]
            if found.frames_without_face:
                lines.append(f"{found.frames_without_face} frames without a face")
            lines += found.notes
            report.text("; ".join(lines))
        sheet, text = sockets.image_value(found.sheet), language.shown("\n".join(lines))
        shown = reports.ui(text, ui.PreviewImage(sheet, cls=cls).as_dict())
        return io.NodeOutput(sheet, len(found.faces), text, ui=shown)


def _survey(
    value: Any, settings: AnimationSettings, options: MotionOptions, report: reports.Report
) -> Survey:
    """Return the survey of a VIDEO or IMAGE; the same one where the sheet would be the same as before."""
    from ..liveportrait_v2v.sheet import survey
    from ..liveportrait_v2v.tracking import file_key

    (clip,) = sockets.clips(value)
    total, file = clip.info.frame_count, file_key(clip)
    key = file or id(value), settings.scale, settings.vx_ratio, settings.vy_ratio, options.face_order
    kept = _surveys.get(key)
    # Another value may have got the id of one that is gone.
    if kept and (file or kept[1]() is value):
        found = kept[0]
    else:
        found = survey(
            clip,
            settings,
            options,
            cells=_CELLS,
            on_frames=lambda done: report.count(done, total, f"{done}/{total} looked at"),
            cancelled=running.interrupted,
        )
    _surveys[key] = found, weakref.ref(value)
    _surveys.move_to_end(key)
    if len(_surveys) > _KEPT:
        _surveys.popitem(last=False)
    return found
