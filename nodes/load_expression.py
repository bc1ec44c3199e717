"""Node Load Expression (LivePortrait)."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..liveportrait_v2v.errors import MediaError
from ..liveportrait_v2v.expression import Expression as Value
from .expression import EXPRESSION, added, chain
from .host import CATEGORY, language, paths, reports, running


class LoadExpression(io.ComfyNode):
    """Reads an expression from ComfyUI's input or output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_LoadExpression",
            display_name="Load Expression (LivePortrait)",
            description="Reads an expression that Save Expression wrote, or the sliders of the old expression editor, "
            "from a JSON file in ComfyUI's input or output folder.",
            search_aliases=["load expression", "import expression", "加载表情", "表情を読み込む"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=paths.saved_files((".json",)),
                    tooltip="A JSON file in ComfyUI's input folder, or, marked [output], in its output folder. Press R "
                    "to see new ones.",
                ),
                *chain(),
            ],
            outputs=[EXPRESSION.Output("loaded", display_name="expression")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        if not file:
            return language.shown(
                "choose an expression: write one with Save Expression, or put a file into ComfyUI's input folder"
            )
        try:
            Value.read(_path(file))
        except MediaError as error:
            return reports.message(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> str:
        return paths.fingerprint(_path(file))

    @classmethod
    def value(cls, file: str = "", expression: Value | None = None, ratio: float = 1.0) -> Value:
        """Return the linked expression with the file's added.

        Raises:
            MediaError: there is no such file in one of ComfyUI's folders, or it is no expression.
            SettingsError: a strength above 4, or more than 64 layers.
        """
        return added(expression, ratio, Value.read(_path(file)))

    @classmethod
    def execute(cls, **values) -> io.NodeOutput:
        with running.run(cls):
            return io.NodeOutput(cls.value(**values))


def _path(file: str) -> Path:
    path = paths.input_path(file)
    if path is None or path.suffix.lower() != ".json":
        raise MediaError(file, "there is no such JSON file in ComfyUI's input or output folder")
    return path
