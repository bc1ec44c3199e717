"""The node LivePortrait Settings."""

from __future__ import annotations

from comfy_api.latest import io

from ..liveportrait_v2v.settings import PRESETS, AnimationSettings
from .host import CATEGORY, running
from .parameters import widgets

SETTINGS = io.Custom("LPV2V_SETTINGS")
_ADVANCED = (
    "dsize",
    "vx_ratio",
    "vy_ratio",
    "crop_drive_face",
    "lip_zero_threshold",
    "eyes_retargeting_multiplier",
    "lip_retargeting_multiplier",
    "stitching",
    "base64",
)


class Settings(io.ComfyNode):
    """The node LivePortrait Settings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_Settings",
            display_name="LivePortrait Settings",
            description="The parameters of LivePortrait video-to-video, as the hosted model documents them. Every "
            "engine accepts them.",
            search_aliases=[
                "retargeting",
                "stitching",
                "face index",
                "lip zero",
                "参数",
                "設定",
            ],
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="none",
                    tooltip=f"Sets some of the parameters below. {_presets()}",
                    # web/js/nodes.js writes them into the widgets.
                    extra_dict={"lpv2v_presets": {name: preset.values for name, preset in PRESETS.items()}},
                ),
                *widgets(AnimationSettings, _ADVANCED),
            ],
            outputs=[SETTINGS.Output("settings", display_name="settings")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, preset: str, **values) -> io.NodeOutput:
        with running.run(cls):
            return io.NodeOutput(AnimationSettings.from_dict({**values, **PRESETS[preset].values}))


def _presets() -> str:
    lines = []
    for name, preset in PRESETS.items():
        values = ", ".join(f"{parameter}={str(value).lower()}" for parameter, value in preset.values.items())
        lines.append(f"{name}: {preset.help}{f' ({values})' if values else ''}.")
    return " ".join(lines)
