"""Node Save Expression (LivePortrait)."""

from __future__ import annotations

from comfy_api.latest import io

from .expression import EXPRESSION
from .host import CATEGORY, paths, reports, running


class SaveExpression(io.ComfyNode):
    """Writes an expression into ComfyUI's output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_SaveExpression",
            display_name="Save Expression (LivePortrait)",
            description="Writes an expression into ComfyUI's output folder as a JSON file: text that holds numbers, "
            "safe to share.",
            search_aliases=["save expression", "export expression", "保存表情", "表情を保存"],
            is_output_node=True,
            inputs=[
                EXPRESSION.Input("expression", tooltip="The expression, with its keyframes."),
                io.String.Input(
                    "filename_prefix",
                    default="expression/LivePortrait",
                    tooltip="Beginning of the file's name; a number follows. A folder may go before it.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, expression, filename_prefix: str) -> io.NodeOutput:
        from ..liveportrait_v2v.files import atomic_write

        with running.run(cls) as report:
            path, name = paths.output_file(filename_prefix, ".json")
            with atomic_write(path) as part:
                part.write_text(expression.to_json() + "\n", encoding="utf-8")
            report.text(name)
        return io.NodeOutput(ui=reports.ui(name))
