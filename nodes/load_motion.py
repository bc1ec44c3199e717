"""Node Load Motion (LivePortrait)."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..liveportrait_v2v.errors import LivePortraitError
from ..liveportrait_v2v.files import TEMPLATES
from . import schemas
from .host import CATEGORY, language, paths, reports, running
from .motion import motion_line, motion_output


class LoadMotion(io.ComfyNode):
    """Loads a motion template from ComfyUI's input or output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_LoadMotion",
            display_name="Load Motion (LivePortrait)",
            description="Loads motion that leads a face in place of a driving clip: a motion template of Record "
            "Motion, or motion in LivePortrait's format (.pkl), as upstream publishes it and audio-driven models write "
            "it.",
            search_aliases=[
                "motion template",
                "driving template",
                "load pkl",
                "JoyVASA",
                "KDTalker",
                "动作模板",
                "モーション 読み込み",
            ],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=paths.saved_files(TEMPLATES),
                    tooltip="A .safetensors or .pkl file in ComfyUI's input folder, or, marked [output], in its output "
                    "folder; press R to see new ones. Add one with the button, or drop a file on the node. Nothing in "
                    "a .pkl is run.",
                ),
            ],
            outputs=[motion_output(), schemas.report_output()],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        from ..liveportrait_v2v.templates import read_template

        if not file:
            return language.shown("choose a motion template, or upload one with the node's button")
        try:
            read_template(_path(file))
        except LivePortraitError as error:
            return reports.message(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return paths.fingerprint(_path(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        from ..liveportrait_v2v.templates import read_template

        with running.run(cls) as report:
            template = read_template(_path(file))
            text = language.shown(motion_line(template))
            report.text(text)
        return io.NodeOutput(template, text, ui=reports.ui(text))


def _path(file: str) -> Path:
    """Return the path of a file in ComfyUI's input or output folder.

    Raises:
        MediaError: there is no such file.
    """
    return paths.chosen_file(
        file, "there is no such file in ComfyUI's input or output folder; upload it with the node's button"
    )
