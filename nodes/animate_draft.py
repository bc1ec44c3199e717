"""Node Animate Draft (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io

from . import animation


class AnimateDraft(io.ComfyNode):
    """Animates with the draft engine."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return animation.schema(
            several=True,
            node_id="LPV2V_AnimateDraft",
            display_name="Animate Draft (LivePortrait)",
            description="Animates the source's face with the driving clip's motion, instantly and without weights or a "
            "GPU, by a landmark-driven warp. For choosing clips, faces and settings before a run that takes time or "
            "costs money.",
            search_aliases=[
                "live portrait",
                "face animation",
                "face reenactment",
                "talking head",
                "video to video",
            ],
        )

    @classmethod
    def execute(
        cls, source, driving, frames: bool, settings=None, motion_options=None, roles=()
    ) -> io.NodeOutput:
        from ..liveportrait_v2v.engines import create_engine

        return animation.run(
            cls,
            create_engine("draft"),
            source=source,
            driving=driving,
            frames=frames,
            settings=settings,
            motion_options=motion_options,
            roles=roles,
        )
