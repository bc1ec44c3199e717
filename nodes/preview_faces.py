"""Node Preview Faces (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io, ui

from . import host
from .motion_options import OPTIONS
from .settings import SETTINGS

_CELLS = 4
"""Frames on the sheet: it is looked at in the node, some 440 pixels wide."""


class PreviewFaces(io.ComfyNode):
    """Finds and numbers the faces in a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=host.CATEGORY,
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
        from ..liveportrait_v2v.sheet import survey

        with host.run(cls) as report:
            (clip,) = host.clips(clip)
            total = clip.info.frame_count
            found = survey(
                clip,
                settings,
                motion_options,
                cells=_CELLS,
                on_frames=lambda done: report.count(done, total, f"{done}/{total} looked at"),
                cancelled=host.interrupted,
            )
            lines = [f"face {face.number} in {face.frames} of {found.frames} frames" for face in found.faces]
            if found.frames_without_face:
                lines.append(f"{found.frames_without_face} frames without a face")
            lines += found.notes
            report.text("; ".join(lines))
        sheet, text = host.image_value(found.sheet), "\n".join(lines)
        shown = host.reported(text, ui.PreviewImage(sheet, cls=cls).as_dict())
        return io.NodeOutput(sheet, len(found.faces), text, ui=shown)
