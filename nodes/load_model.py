"""Node Load Model (LivePortrait)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comfy_api.latest import io

from . import host
from .errors import NodeError

MODEL = io.Custom("LPV2V_MODEL")
_AUTO = "auto"
_PRECISIONS = ["auto", "fp16", "bf16-convs", "fp32"]


class LoadModel(io.ComfyNode):
    """Loads the LivePortrait networks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LPV2V_LoadModel",
            display_name="Load Model (LivePortrait)",
            category=host.CATEGORY,
            description="Loads the LivePortrait networks with their published weights from ComfyUI's folder "
            "models/liveportrait or from the folders in extra_model_paths.yaml. ComfyUI moves them in and out of GPU "
            "memory.",
            search_aliases=[
                "liveportrait weights",
                "download weights",
                "模型",
                "モデル",
            ],
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[_AUTO, *map(str, host.model_folders())],
                    default=_AUTO,
                    tooltip="Folder with the weights: .safetensors, or .pth in upstream's folders. auto takes the "
                    "first complete one.",
                ),
                io.Combo.Input(
                    "precision",
                    options=_PRECISIONS,
                    default=_AUTO,
                    tooltip="Precision of the convolutions; keypoints and grids always have full precision. auto is "
                    "fp16 on CUDA, otherwise fp32. Choose fp32 if frames come out black.",
                ),
                io.Boolean.Input(
                    "compile",
                    default=False,
                    advanced=True,
                    tooltip="Compile the networks on first use: takes a minute or two, then frames are faster. For "
                    "long clips on a GPU; does not help on a CPU.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    tooltip="If no folder has the weights, download them (520 MB) into models/liveportrait. Off: the "
                    "error message says where to get them.",
                ),
            ],
            outputs=[
                MODEL.Output("model", display_name="model"),
                io.String.Output(
                    "report", display_name="report", tooltip="Precision and device of the networks."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, weights: str, precision: str, compile: bool, download: bool) -> io.NodeOutput:  # noqa: A002
        from ..liveportrait_v2v.engines.liveportrait.networks import NETWORKS
        from ..liveportrait_v2v.engines.liveportrait.weights import WeightsError, find_weights

        folders: Sequence[str | Path] = host.model_folders() if weights == _AUTO else [weights]
        with host.run(cls) as report:
            try:
                find_weights(folders)
            except WeightsError:
                if not download:
                    where = "models/liveportrait" if weights == _AUTO else Path(weights).name
                    raise NodeError(
                        "the LivePortrait weights are missing: switch `download` on to fetch them (520 MB), or put "
                        f"{', '.join(NETWORKS)} (each .safetensors or .pth) into {where}"
                    ) from None
                cls._download(report)
                folders = host.model_folders()
            report.text("reading the weights")
            model = host.Model(folders, precision, compile)
            text = model.describe()
            report.text(text)
        return io.NodeOutput(model, text, ui=host.reported(text))

    @classmethod
    def _download(cls, report: host.Report) -> None:
        from ..liveportrait_v2v.engines.liveportrait.download import SAFETENSORS, download

        def progress(name: str, done: int, total: int | None) -> None:
            size = f" of {total / 1e6:.0f}" if total else ""
            report.count(done, total or done + 1, f"{name}: {done / 1e6:.0f}{size} MB")

        download(SAFETENSORS, host.model_folders()[0], on_progress=progress, cancelled=host.interrupted)
