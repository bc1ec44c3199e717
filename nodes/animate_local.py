"""Node Animate Local (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io

from . import animation, schemas
from .load_model import MODEL


class AnimateLocal(io.ComfyNode):
    """Animates with the LivePortrait networks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schemas.animation(
            local=True,
            crops=True,
            node_id="LPV2V_AnimateLocal",
            display_name="Animate Local (LivePortrait)",
            description="Animates the source's face with the LivePortrait networks on this machine. Fast on a GPU; on "
            "a CPU each frame takes seconds.",
            search_aliases=[
                "live portrait",
                "lip sync",
                "lipsync",
                "facial expression",
                "face animation",
                "face reenactment",
                "talking head",
                "motion transfer",
                "avatar",
                "offline",
                "口型同步",
                "表情",
                "数字人",
                "リップシンク",
                "動画",
            ],
            inputs=[MODEL.Input("model", tooltip="From Load Model (LivePortrait).")],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[bool]:
        return animation.fingerprint(cls)

    @classmethod
    def execute(cls, model, **values) -> io.NodeOutput:
        try:
            return animation.run(cls, model.engine, **values)
        finally:
            model.release()
