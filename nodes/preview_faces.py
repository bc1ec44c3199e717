"""Node Preview Faces (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io, ui

from . import host
from .motion_options import OPTIONS
from .settings import SETTINGS


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
                "live portrait faces",
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
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip, settings=None, motion_options=None) -> io.NodeOutput:
        from ..liveportrait_v2v.sheet import survey

        report = host.Report(cls.hidden.unique_id)
        with host.run(report):
            (clip,) = host.clips(clip)
            total = clip.info.frame_count
            found = survey(
                clip,
                settings,
                motion_options,
                on_frames=lambda done: report.count(
                    done, total, f"looking for faces: {done} of {total} frames"
                ),
                cancelled=host.interrupted,
            )
        seen = "; ".join(f"face {face.number} in {face.frames} frames" for face in found.faces)
        empty = f"{found.frames_without_face} of {found.frames} frames without a face"
        report.text("; ".join((seen, empty, *found.notes)))
        sheet = host.image_value(found.sheet)
        return io.NodeOutput(sheet, len(found.faces), ui=ui.PreviewImage(sheet, cls=cls))
