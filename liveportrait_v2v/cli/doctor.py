"""Command `doctor`: what this machine has, in a page for a bug report."""

from __future__ import annotations

import argparse
import json
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from .common import Commands
from .stop import Stop

PACKAGES = ("torch", "numpy", "av", "httpx", "safetensors", "Pillow", "PyYAML", "filelock")
OPTIONAL = ("aiohttp", "onnxruntime")
ENCODERS = ("libx264", "libvpx-vp9", "libopus", "aac", "h264_nvenc")
MISSING = "not installed"


def add(commands: Commands) -> None:
    """Add the parser of `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="list versions, devices, weights and encoders, for a bug report",
        description="Lists what this machine has: versions, devices, weights, encoders, and whether a ComfyUI and a "
        "key are there. The page holds no key, no name of yours and no path outside of your home folder.",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    found: dict[str, dict[str, str]] = {}
    for title, section in SECTIONS.items():
        if stop():
            return
        found[title] = section()
    if options.json:
        print(json.dumps(found))
        return
    for title, facts in found.items():
        print(title)
        for name, value in facts.items():
            print(f"  {name}: {value}")


def _versions() -> dict[str, str]:
    facts = {
        "liveportrait-v2v": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }
    return facts | {name: _version_of(name) for name in (*PACKAGES, *OPTIONAL)}


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def _devices() -> dict[str, str]:
    """Return the devices that torch computes on."""
    import torch

    from ..engines.liveportrait.networks import Forms, resolve_precision
    from ..engines.liveportrait.networks.cpu.calibration import processor

    facts = {"cpu": f"{processor()}, {torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        device = f"cuda:{number}"
        about = torch.cuda.get_device_properties(number)
        precision = resolve_precision("auto", device)
        facts[device] = (
            f"{about.name}, {about.total_memory / 2**30:.1f} GiB, compute capability {about.major}.{about.minor}, "
            f"CUDA {torch.version.cuda or torch.version.hip}, cuDNN {torch.backends.cudnn.version()}, {precision}, "
            f"{Forms.usual(device, precision)}"
        )
    if torch.backends.mps.is_available():
        facts["mps"] = "Apple's GPU"
    return facts


def _encoders() -> dict[str, str]:
    """Return whether each encoder can be opened, and the versions of FFmpeg's libraries."""
    import av

    from ..media.writer import unusable

    facts = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    for name in ENCODERS:
        if name in ("libopus", "aac"):
            facts[name] = "works" if name in av.codecs_available else "this build of FFmpeg lacks it"
        else:
            facts[name] = unusable(name) or "works"
    return facts


def _weights() -> dict[str, str]:
    """Return where the weights of each model are, without reading them."""
    from ..engines.liveportrait.weights import MODELS, WeightsError, default_folders, find_weights, locate

    facts = {}
    for model in MODELS:
        try:
            files = find_weights(default_folders(), model)
        except WeightsError:
            facts[model] = "not found"
            continue
        folder = next(iter(files.values())).parent
        kinds = ", ".join(sorted({path.suffix for path in files.values()}))
        facts[model] = f"{kinds} in {_shown(folder)}"
    landmarks = [folder for folder in default_folders() if locate(folder, "landmark.onnx")]
    facts["landmark.onnx"] = f"in {_shown(landmarks[0])}" if landmarks else "not found"
    return facts


def _surroundings() -> dict[str, str]:
    """Return whether a ComfyUI and a key are there."""
    from ..engines.liveportrait.weights import comfyui_homes
    from ..engines.segmind.keys import VARIABLE, default_folder, find_key

    homes = comfyui_homes()
    key = find_key(default_folder())
    place = "" if key is None else f" in {VARIABLE}" if key[1] == VARIABLE else " in its file"
    return {
        "ComfyUI": f"{_comfyui_version(homes[0])} in {_shown(homes[0])}" if homes else "not found",
        "Segmind API key": "not configured" if key is None else f"configured{place}",
    }


def _comfyui_version(home: Path) -> str:
    """Return the version that a ComfyUI states, without running it."""
    path = home / "comfyui_version.py"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r'__version__ = "([^"]+)"', text)
    return found[1] if found else "of unknown version"


def _shown(path: Path) -> str:
    """Return a path without what is private in it: the part below the home folder, or its last part alone."""
    path, home = path.absolute(), Path.home().absolute()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else f".../{path.name}"


SECTIONS: dict[str, Callable[[], dict[str, str]]] = {
    "versions": _versions,
    "devices": _devices,
    "encoders": _encoders,
    "weights": _weights,
    "surroundings": _surroundings,
}
