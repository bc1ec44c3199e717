"""As much of ComfyUI as the nodes touch, so that they can be tested without one.

Constructors take just the keywords that the real ones take, so that a wrong one is an error here too;
tests/comfyui/test_standin.py holds them, and the schemas that come of them, to the real ones.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAME = "liveportrait_pack"


class UploadType(str, Enum):
    image = "image_upload"
    video = "video_upload"


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"


class FolderType(str, Enum):
    input = "input"
    output = "output"
    temp = "temp"


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"


@dataclass
class _Input:
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    advanced: bool | None = None
    io_type = ""

    def told(self) -> dict[str, Any]:
        """What the server tells the frontend of it."""
        shown = {name: getattr(self, name) for name in ("display_name", "tooltip", "advanced")}
        return {name: value for name, value in {**shown, **self.own()}.items() if value is not None}

    def own(self) -> dict[str, Any]:
        return {}


@dataclass
class _Own(_Input):
    """An input of a type of the pack's own."""

    extra_dict: dict[str, Any] | None = None

    def own(self) -> dict[str, Any]:
        return self.extra_dict or {}


@dataclass
class _Output:
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None
    io_type = ""


@dataclass
class _Number(_Input):
    default: float | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    control_after_generate: bool | None = None

    def own(self) -> dict[str, Any]:
        names = ("default", "min", "max", "step", "control_after_generate")
        return {name: getattr(self, name) for name in names}


@dataclass
class _Fraction(_Number):
    control_after_generate: None = field(default=None, init=False)
    display_mode: NumberDisplay | None = None

    def own(self) -> dict[str, Any]:
        return {**super().own(), "display": self.display_mode}


@dataclass
class _Switch(_Input):
    default: bool | None = None

    def own(self) -> dict[str, Any]:
        return {"default": self.default}


@dataclass
class _Combo(_Input):
    options: list[str] = field(default_factory=list)
    default: str | None = None
    upload: UploadType | None = None
    extra_dict: dict[str, Any] | None = None

    def own(self) -> dict[str, Any]:
        upload = {self.upload.value: True} if self.upload else {}
        return {"options": self.options, "default": self.default, **upload, **(self.extra_dict or {})}


@dataclass
class _Text(_Input):
    default: str | None = None
    multiline: bool = False

    def own(self) -> dict[str, Any]:
        return {"default": self.default, "multiline": self.multiline}


@dataclass
class _Box(_Input):
    advanced: None = field(default=None, init=False)
    force_input: bool | None = None

    def own(self) -> dict[str, Any]:
        return {"forceInput": self.force_input}


@dataclass
class _Several(_Input):
    """Sockets that take more than one type."""

    types: list[type] = field(default_factory=list)

    def __init__(self, name: str, types: list[type], **options: Any):
        super().__init__(name, **options)
        self.types = types

    @property
    def io_type(self) -> str:
        return ",".join(kind.io_type for kind in self.types)


def _kind(name: str, io_type: str, input_type: type = _Input) -> type:
    inside = {"io_type": io_type}
    return type(
        name,
        (),
        {
            "io_type": io_type,
            "Input": type("Input", (input_type,), inside),
            "Output": type("Output", (_Output,), inside),
        },
    )


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[_Input] = field(default_factory=list)
    outputs: list[_Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_output_node: bool = False


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None):
        self.args = args
        self.ui = ui


def _locking(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a class method that locks its class while it runs; an awaitable result runs on unlocked."""

    @functools.wraps(method)
    def locking(cls: type, *args: Any, **options: Any) -> Any:
        cls._locked = True
        try:
            return method(cls, *args, **options)
        finally:
            cls._locked = False

    return locking


class ComfyNode:
    hidden = types.SimpleNamespace(unique_id="7", prompt={})
    _locked = False  # while ComfyUI asks a node for something, nobody can write to its class

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("execute", "fingerprint_inputs", "validate_inputs"):
            if name in vars(cls):
                setattr(cls, name, classmethod(_locking(vars(cls)[name].__func__)))

    @classmethod
    def GET_SCHEMA(cls) -> Schema:  # noqa: N802 - its name in ComfyUI
        if cls._locked:
            raise AttributeError(f"cannot modify class attribute 'SCHEMA' on locked class {cls.__name__!r}")
        schema = cls.define_schema()
        names = [item.id for item in (*schema.inputs, *schema.outputs)]
        assert len(names) == len(set(names)), "an input and an output must not share an id"
        return schema


class ComfyExtension:
    pass


@dataclass
class VideoComponents:
    images: Any
    frame_rate: Fraction
    audio: Any = None


class VideoFromFile:
    def __init__(self, file: str, *, start_time: float = 0, duration: float = 0):
        self.file, self.window = file, (float(start_time), float(duration))

    def get_stream_source(self) -> str:
        return self.file

    def get_active_trim_window(self) -> tuple[float, float]:
        return self.window


class VideoFromComponents:
    def __init__(self, components: VideoComponents):
        self.components = components

    def get_components(self) -> VideoComponents:
        return self.components


@dataclass
class SavedResult:
    filename: str
    subfolder: str
    type: FolderType


@dataclass
class PreviewVideo:
    values: list[SavedResult]


class PreviewImage:
    def __init__(self, image: Any, cls: type | None = None):
        self.image = image

    def as_dict(self) -> dict[str, Any]:
        return {"images": [self.image], "animated": (False,)}


class InterruptProcessingException(BaseException):
    pass


class ExecutionBlocker:
    def __init__(self, message: str | None):
        self.message = message


@dataclass
class Host:
    """The stand-in's state: where its folders are, what was shown, whether the user pressed the button.

    Attributes:
        texts: lines shown on nodes.
        events: sent to the pack's own JavaScript.
        bars: value, total and preview of each progress update.
        stop: the run is to be interrupted.
        free: free memory in bytes.
        device: what computes.
        moves: models are moved to it before they are used; with --novram ComfyUI leaves them where they are.
    """

    base: Path
    texts: list[str] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bars: list[tuple[int, int, Any]] = field(default_factory=list)
    stop: bool = False
    free: int = 1 << 34
    device: str = "cpu"
    moves: bool = True

    def folder(self, name: str) -> str:
        return str(self.base / name)


def install(host: Host) -> dict[str, types.ModuleType]:
    """The modules that the nodes import, with `host` behind them."""

    class ProgressBar:
        def __init__(self, total: int, node_id: str | None = None):
            self.total = total

        def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
            host.bars.append((value, total, preview))

    class ModelPatcher:
        def __init__(self, model: Any, load_device: Any, offload_device: Any):
            self.model, self.load_device, self.offload_device = model, load_device, offload_device

    def load_models_gpu(models: list, memory_required: int = 0, force_full_load: bool = False) -> None:
        for patcher in models if host.moves else []:
            patcher.model.to(patcher.load_device)

    def device(kind: str) -> Any:
        import torch

        return torch.device(kind)

    def annotated(name: str) -> tuple[str, str | None]:
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 3], host.folder(kind)
        return name, None

    def save_path(prefix: str, root: str) -> tuple[str, str, int, str, str]:
        folder, name = (Path(root) / prefix).parent, Path(prefix).name
        if not folder.resolve().is_relative_to(Path(root).resolve()):
            raise Exception("Saving image outside the output folder is not allowed.")
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.stem.split("_")[-2]) for path in folder.glob(f"{name}_*_*")]
        return str(folder), name, max(taken, default=0) + 1, str(Path(prefix).parent), prefix

    io = types.SimpleNamespace(
        ComfyNode=ComfyNode,
        Schema=Schema,
        NodeOutput=NodeOutput,
        Hidden=Hidden,
        UploadType=UploadType,
        FolderType=FolderType,
        NumberDisplay=NumberDisplay,
        Input=_Input,
        Output=_Output,
        Int=_kind("Int", "INT", _Number),
        Float=_kind("Float", "FLOAT", _Fraction),
        Boolean=_kind("Boolean", "BOOLEAN", _Switch),
        String=_kind("String", "STRING", _Text),
        Combo=_kind("Combo", "COMBO", _Combo),
        Image=_kind("Image", "IMAGE"),
        Mask=_kind("Mask", "MASK"),
        BoundingBox=_kind("BoundingBox", "BOUNDING_BOX", _Box),
        Video=_kind("Video", "VIDEO"),
        Audio=_kind("Audio", "AUDIO"),
        MultiType=types.SimpleNamespace(Input=_Several),
        Custom=lambda name: _kind(name, name, _Own),
    )
    ui = types.SimpleNamespace(SavedResult=SavedResult, PreviewVideo=PreviewVideo, PreviewImage=PreviewImage)
    impl = types.SimpleNamespace(VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents)
    contents = {
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ui": ui, "InputImpl": impl, "ComfyExtension": ComfyExtension},
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "processing_interrupted": lambda: host.stop,
            "interrupt_current_processing": lambda value: setattr(host, "stop", value),
            "InterruptProcessingException": InterruptProcessingException,
            "get_free_memory": lambda device: host.free,
            "get_torch_device": lambda: device(host.device),
            "unet_offload_device": lambda: device("cpu"),
            "load_models_gpu": load_models_gpu,
        },
        "comfy.model_patcher": {"ModelPatcher": ModelPatcher},
        "comfy_execution": {},
        "comfy_execution.graph": {"ExecutionBlocker": ExecutionBlocker},
        "folder_paths": {
            "base_path": str(host.base),
            "models_dir": host.folder("models"),
            "add_model_folder_path": lambda kind, path: None,
            "get_folder_paths": lambda kind: [],
            "get_system_user_directory": lambda name: host.folder(f"user/__{name}"),
            "get_input_directory": lambda: host.folder("input"),
            "get_output_directory": lambda: host.folder("output"),
            "get_temp_directory": lambda: host.folder("temp"),
            "get_save_image_path": save_path,
            "annotated_filepath": annotated,
            "filter_files_content_types": lambda files, kinds: [
                name
                for name in files
                if name.endswith((".mp4", ".webm") if kinds == ["video"] else (".png", ".jpg"))
            ],
        },
        "server": {
            "PromptServer": types.SimpleNamespace(
                instance=types.SimpleNamespace(
                    send_progress_text=lambda text, node: host.texts.append(text),
                    send_sync=lambda event, data: host.events.append((event, data)),
                )
            )
        },
    }
    modules = {}
    for name, values in contents.items():
        modules[name] = types.ModuleType(name)
        modules[name].__dict__.update(values)
    return modules


def load_pack() -> types.ModuleType:
    """The pack, loaded as ComfyUI loads it: from its folder, under a name of its own."""
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = pack
    spec.loader.exec_module(pack)
    return pack


def nodes_of(pack: types.ModuleType) -> list[type[ComfyNode]]:
    """The nodes that the pack gives to ComfyUI."""
    return _result(_result(pack.comfy_entrypoint()).get_node_list())


def schemas() -> dict[str, Schema]:
    """The pack's schemas, by node id; from then on this process has the stand-in's modules in ComfyUI's place."""
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        (host.base / "input").mkdir()
        sys.modules.update(install(host))
        made = [node.GET_SCHEMA() for node in nodes_of(load_pack())]
    return {schema.node_id: schema for schema in made}


def _result(coroutine: Coroutine) -> Any:
    """What a coroutine returns that waits for nothing; without a loop, since a browser's tests have one running."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")
