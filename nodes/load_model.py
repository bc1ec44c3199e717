"""Node Load Model (LivePortrait)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from .host import CATEGORY, language, models, paths, reports, running

MODEL = io.Custom("LPV2V_MODEL")
_AUTO = "auto"
MODEL_TYPES = ["humans", "animals"]
_PRECISIONS = ["auto", "fp16", "bf16-convs", "fp32"]


class LoadModel(io.ComfyNode):
    """Loads the LivePortrait networks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LPV2V_LoadModel",
            display_name="Load Model (LivePortrait)",
            category=CATEGORY,
            description="Loads the LivePortrait networks with their published weights from ComfyUI's folder "
            "models/liveportrait or from the folders in extra_model_paths.yaml. ComfyUI moves them in and out of GPU "
            "memory.",
            search_aliases=[
                "liveportrait weights",
                "download weights",
                "模型",
                "モデル",
                "animals",
                "cat",
                "动物",
                "動物",
            ],
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[_AUTO, *map(str, paths.model_folders())],
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
                io.Combo.Input(
                    "model_type",
                    options=MODEL_TYPES,
                    default=MODEL_TYPES[0],
                    optional=True,
                    tooltip="Networks for human faces, or for those of animals. Where an animal's face is, a box says: "
                    "link one to boxes of Animate Local. The driving clip shows a human face.",
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
    def execute(
        cls,
        weights: str,
        precision: str,
        compile: bool,  # noqa: A002
        download: bool,
        model_type: str = MODEL_TYPES[0],
    ) -> io.NodeOutput:
        from ..liveportrait_v2v.engines.liveportrait.download import PUBLISHED
        from ..liveportrait_v2v.engines.liveportrait.weights import MODELS, WeightsError, find_weights

        folders: Sequence[str | Path] = paths.model_folders() if weights == _AUTO else [weights]
        with running.run(cls) as report:
            try:
                find_weights(folders, model_type)
            except WeightsError:
                if not download:
                    base = "models/liveportrait" if weights == _AUTO else Path(weights).name
                    where = PurePosixPath(base, PUBLISHED[model_type][1])
                    which = "for animals are" if model_type == "animals" else "are"
                    raise SettingsError(
                        f"the LivePortrait weights {which} missing: switch `download` on to fetch them (520 MB), or "
                        f"put {', '.join(MODELS[model_type])} (each .safetensors or .pth) into {where}"
                    ) from None
                cls._download(report, model_type)
                folders = paths.model_folders()
            report.text("reading the weights")
            loaded = models.Model(folders, precision, compile, model_type)
            text = loaded.describe()
            report.text(text)
            text = language.shown(text)
        return io.NodeOutput(loaded, text, ui=reports.ui(text))

    @classmethod
    def _download(cls, report: reports.Report, model: str) -> None:
        from ..liveportrait_v2v.engines.liveportrait.download import PUBLISHED, download

        def progress(name: str, done: int, total: int | None) -> None:
            size = f" of {total / 1e6:.0f}" if total else ""
            report.count(done, total or done + 1, f"{name}: {done / 1e6:.0f}{size} MB")

        files, folder = PUBLISHED[model]
        target = Path(paths.model_folders()[0], folder)
        download(files, target, on_progress=progress, cancelled=running.interrupted)
