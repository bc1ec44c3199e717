"""Node Record Motion (LivePortrait)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import MediaError, SettingsError
from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from . import schemas
from .host import CATEGORY, language, paths, reports, running, sockets
from .load_model import MODEL
from .motion import motion_line, motion_output
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from ..liveportrait_v2v.engines import Engine

_ENGINES = ["draft", "liveportrait"]


class RecordMotion(io.ComfyNode):
    """Records a driving clip's motion, and saves it as a motion template."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_RecordMotion",
            display_name="Record Motion (LivePortrait)",
            description="Reads the motion of the face in a driving clip once, without its pictures, and saves it as a "
            "motion template in ComfyUI's output folder. It leads a face as the clip does, again and again.",
            search_aliases=[
                "motion template",
                "save motion",
                "driving template",
                "record expression",
                "pkl",
                "动作模板",
                "モーション 保存",
            ],
            inputs=[
                io.MultiType.Input(
                    "driving", [io.Video, io.Image], tooltip="Video or image with the motion to record."
                ),
                io.Combo.Input(
                    "engine",
                    options=_ENGINES,
                    default=_ENGINES[0],
                    tooltip="Engine that the motion is for: draft for Animate Draft, liveportrait for Animate Local, "
                    "whose networks read it. Neither takes the other's.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="motion/LivePortrait",
                    tooltip="Name of the file in ComfyUI's output folder, without number and ending; may begin with a "
                    "folder.",
                ),
                SETTINGS.Input(
                    "settings",
                    optional=True,
                    tooltip="From LivePortrait Settings: drive_face_index, video_frame_load_cap and crop_drive_face "
                    "count here; without it the defaults.",
                ),
                OPTIONS.Input(
                    "motion_options",
                    optional=True,
                    tooltip="From LivePortrait Motion Options: face_order counts here; without it the default.",
                ),
                MODEL.Input(
                    "model",
                    optional=True,
                    tooltip="From Load Model (LivePortrait), for the engine liveportrait alone.",
                ),
            ],
            outputs=[motion_output(), schemas.report_output()],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, driving, engine: str, filename_prefix: str, settings=None, motion_options=None, model=None
    ) -> io.NodeOutput:
        from ..liveportrait_v2v.templates import note_of_length, record_template, write_template

        try:
            with running.run(cls) as report:
                path, name = paths.output_file(filename_prefix, ".safetensors")
                (clip,) = sockets.clips(driving)
                total = clip.info.frame_count
                template = record_template(
                    clip,
                    _engine(engine, model),
                    settings or AnimationSettings(),
                    motion_options or MotionOptions(),
                    on_frames=lambda done: report.count(done, total, f"{done}/{total}"),
                    cancelled=running.interrupted,
                )
                try:
                    write_template(path, template)
                except OSError as error:
                    raise MediaError(
                        name, f"can't be written: {error.strerror}; change filename_prefix"
                    ) from error
                lines = [motion_line(template), f"saved as {name}"]
                note = note_of_length(clip, template)
                lines += [] if note is None else [note]
                report.text(lines[0])
        finally:
            if model is not None:
                model.release()
        text = language.shown("\n".join(lines))
        return io.NodeOutput(template, text, ui=reports.ui(text))


def _engine(name: str, model: Any) -> Engine:
    """Return the engine that reads the motion.

    Raises:
        SettingsError: it needs a model, and there is none.
    """
    from ..liveportrait_v2v.engines.draft import DraftEngine

    if name == "draft":
        return DraftEngine()
    if model is None:
        raise SettingsError(
            "engine liveportrait reads motion with the networks, and `model` is not linked: link Load Model "
            "(LivePortrait), or take the engine draft"
        )
    return model.engine()
