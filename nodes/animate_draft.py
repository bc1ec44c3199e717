"""Node Animate Draft (LivePortrait)."""

from __future__ import annotations

from functools import partial

from comfy_api.latest import io

from . import animation, schemas


class AnimateDraft(io.ComfyNode):
    """Animates with the draft engine."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schemas.animation(
            local=True,
            node_id="LPV2V_AnimateDraft",
            display_name="Animate Draft (LivePortrait)",
            description="Animates the source's face with the driving clip's motion, instantly and without weights or a "
            "GPU, by a landmark-driven warp. For choosing clips, faces and settings before a run that takes time or "
            "costs money.",
            search_aliases=[
                "live portrait",
                "lip sync",
                "lipsync",
                "facial expression",
                "expression transfer",
                "face animation",
                "face reenactment",
                "talking head",
                "talking photo",
                "motion transfer",
                "avatar",
                "puppet",
                "face swap",
                "video to video",
                "v2v",
                "口型同步",
                "表情",
                "视频",
                "数字人",
                "リップシンク",
                "表情転写",
                "動画",
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[bool]:
        return animation.fingerprint(cls)

    @classmethod
    def execute(cls, **values) -> io.NodeOutput:
        from ..liveportrait_v2v.engines import create_engine

        return animation.run(cls, partial(create_engine, "draft"), **values)
