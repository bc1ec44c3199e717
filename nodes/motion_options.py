"""The node LivePortrait Motion Options."""

from __future__ import annotations

from comfy_api.latest import io

from ..liveportrait_v2v.settings import MotionOptions as Options
from .host import CATEGORY, running
from .parameters import widgets

OPTIONS = io.Custom("LPV2V_MOTION_OPTIONS")
_ADVANCED = ("pairing", "source_motion")


class MotionOptions(io.ComfyNode):
    """The node LivePortrait Motion Options."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_MotionOptions",
            display_name="LivePortrait Motion Options",
            description="Options of the engines on this machine beyond the documented parameters: region and strength "
            "of the motion, smoothing, the order of faces.",
            search_aliases=[
                "motion smoothing",
                "motion region",
                "driving multiplier",
                "face order",
                "动作",
                "動き",
            ],
            inputs=widgets(Options, _ADVANCED),
            outputs=[OPTIONS.Output("motion_options", display_name="motion_options")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **values) -> io.NodeOutput:
        with running.run(cls):
            return io.NodeOutput(Options.from_dict(values))
