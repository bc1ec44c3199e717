"""Node Expression (LivePortrait): a face's expression by sliders, drawn as they move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.expression import CHANNELS, TARGETS
from ..liveportrait_v2v.expression import Expression as Value
from .host import CATEGORY, paths, running, sockets
from .load_model import MODEL

if TYPE_CHECKING:
    import torch

EXPRESSION = io.Custom("LPV2V_EXPRESSION")
VIEW = io.Custom("LPV2V_FACE_VIEW")
"""Drawn by web/js/expression.js; it has no value."""
UNSET = -0.01
"""Value of a target's slider that leaves the face's own opening."""
MAX_RATIO = 2.0
_STEPS = {
    "aaa": 1.0,
    **dict.fromkeys(("eee", "woo"), 0.2),
    **dict.fromkeys(("smile", "zoom", "move_x", "move_y", "source", *TARGETS), 0.01),
    "pouting": 0.001,
}
_STEP = 0.5
_FOLDED = (
    *("pupil_x_left", "pupil_x_right", "pupil_y_left", "pupil_y_right"),
    *("pouting", "move_x", "move_y", "zoom", "eyes_open", "lips_open"),
)
"""Channels behind "advanced", the last of the sliders."""
_SHOWN = tuple(name for name in CHANNELS if name not in _FOLDED)


class Expression(io.ComfyNode):
    """Sets channels of an expression, and shows the face with them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_Expression",
            display_name="Expression (LivePortrait)",
            description="Edits a face by sliders: head, eyes, gaze, brows and mouth. Link a picture or video to see "
            "the face while a slider moves. The expression goes to Animate Draft or Animate Local.",
            search_aliases=[
                "expression editor",
                "facial expression",
                "edit expression",
                "emotion",
                "smile",
                "blink",
                "gaze",
                "head pose",
                "表情编辑",
                "表情",
                "表情編集",
            ],
            is_output_node=True,
            inputs=[
                *(_slider(name) for name in (*_SHOWN, *_FOLDED)),
                *chain(),
                io.MultiType.Input(
                    "clip",
                    [io.Video, io.Image],
                    optional=True,
                    tooltip="Video or image whose face the node shows. It is not changed.",
                ),
                io.Int.Input("face", default=0, min=0, max=5, tooltip="Number of the face that is shown."),
                io.Float.Input(
                    "time",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Second of the clip and of the linked expression that is shown.",
                ),
                MODEL.Input(
                    "model",
                    optional=True,
                    tooltip="From Load Model (LivePortrait): a run shows the picture of the networks. Without it, and "
                    "while a slider moves, that of the draft engine.",
                ),
                VIEW.Input(
                    "view", optional=True, extra_dict={"socketless": True}, tooltip="The live picture."
                ),
            ],
            outputs=[
                EXPRESSION.Output(
                    "edited", display_name="expression", tooltip="The linked expression with the sliders'."
                ),
                io.Image.Output(
                    "picture",
                    display_name="picture",
                    tooltip="The face with the expression, up to 512 pixels large. It needs a clip.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def value(cls, expression: Value | None = None, ratio: float = 1.0, **channels: float) -> Value:
        """Return the linked expression with the sliders' values added.

        Raises:
            SettingsError: a value out of range, or more than 64 layers.
        """
        own = {
            name: value
            for name, value in channels.items()
            if name not in CHANNELS or value != (UNSET if name in TARGETS else CHANNELS[name].neutral)
        }
        return added(expression, ratio, Value.constant(**own) if own else Value())

    @classmethod
    def execute(
        cls, clip=None, face: int = 0, time: float = 0.0, model=None, view=None, **values: Any
    ) -> io.NodeOutput:
        from . import live

        with running.run(cls):
            edited = cls.value(**values)
            if clip is None:
                return io.NodeOutput(edited, sockets.blocked("picture: link a video or image to `clip`"))
            (shown,) = sockets.clips(clip)
            handle, picture = live.show(shown, face, time, edited, model)
            own = {name: values[name] for name in CHANNELS if name in values}
            told: dict[str, Any] = {"handle": handle, "values": own}
            if model is not None:
                told["file"] = _saved(picture)
        return io.NodeOutput(edited, picture.unsqueeze(0).float() / 255, ui={"lpv2v_face": [told]})


def chain() -> list[io.Input]:
    """Return the inputs of a node that adds to a linked expression."""
    return [
        EXPRESSION.Input("expression", optional=True, tooltip="Expression that this one is added to."),
        io.Float.Input(
            "ratio",
            default=1.0,
            min=0.0,
            max=MAX_RATIO,
            step=0.01,
            tooltip="Share of the linked expression that is taken: 0 none of it, 1 all, above 1 more.",
        ),
    ]


def added(linked: Value | None, ratio: float, own: Value) -> Value:
    """Return a share of a linked expression, if there is one, with an own one added."""
    return own if linked is None else linked.scaled(ratio) + own


def _slider(name: str) -> io.Input:
    channel = CHANNELS[name]
    target = channel.neutral is None
    help_text = f"{channel.help} Below 0: the face's own." if target else channel.help
    return io.Float.Input(
        name,
        default=UNSET if target else channel.neutral,
        min=UNSET if target else float(channel.low),
        max=float(channel.high),
        step=_STEPS.get(name, _STEP),
        display_mode=io.NumberDisplay.slider,
        tooltip=help_text,
        advanced=True if name in _FOLDED else None,
    )


def _saved(picture: torch.Tensor) -> dict[str, str]:
    """Write a picture uint8 [H, W, 3] into ComfyUI's temp folder and return where the front end finds it."""
    from PIL import Image

    path = paths.temp_file(".png")
    Image.fromarray(picture.numpy()).save(path)
    return {"filename": path.name, "subfolder": "", "type": "temp"}
