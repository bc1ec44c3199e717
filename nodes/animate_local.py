"""Node Animate Local (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io

from . import animation
from .load_model import MODEL


class AnimateLocal(io.ComfyNode):
    """Animates with the LivePortrait networks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return animation.schema(
            several=True,
            node_id="LPV2V_AnimateLocal",
            display_name="Animate Local (LivePortrait)",
            description="Animates the source's face with the LivePortrait networks on this machine. Fast on a GPU; on "
            "a CPU each frame takes seconds.",
            search_aliases=["live portrait", "face animation", "face reenactment", "talking head", "offline"],
            inputs=[MODEL.Input("model", tooltip="From Load Model (LivePortrait).")],
        )

    @classmethod
    def execute(
        cls, source, driving, frames: bool, model, settings=None, motion_options=None, roles=()
    ) -> io.NodeOutput:
        return animation.run(
            cls,
            model.engine(),
            source=source,
            driving=driving,
            frames=frames,
            settings=settings,
            motion_options=motion_options,
            roles=roles,
        )
