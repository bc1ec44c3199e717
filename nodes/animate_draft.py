"""The node Animate Draft (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io

from . import animation


class AnimateDraft(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return animation.schema(
            node_id="LPV2V_AnimateDraft",
            display_name="Animate Draft (LivePortrait)",
            description="Animates the source's face by the driving clip's, at once and without weights or GPU: a warp "
            "led by landmarks. For choosing clips, faces and settings before a run that costs time or money.",
            search_aliases=[
                "live portrait",
                "face animation",
                "face reenactment",
                "talking head",
                "video to video",
            ],
        )

    @classmethod
    def execute(cls, source, driving, frames: bool, settings=None, motion_options=None) -> io.NodeOutput:
        from ..liveportrait_v2v.engines import create_engine

        return animation.run(
            cls,
            create_engine("draft"),
            source=source,
            driving=driving,
            frames=frames,
            settings=settings,
            motion_options=motion_options,
        )
