"""The published weights: search, loading and validation.

Each network has a file: a `.pth` as upstream published it, or flat safetensors. Both hold the same tensors. Files are
found flat in a folder and in the folders of upstream's repository.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save
from torch import Tensor

from ...errors import LivePortraitError, SettingsError
from ...files import atomic_write
from ...remedies import remedy
from .networks import MAIN_NETWORKS, NETWORKS, Forms, Networks, blank_network

# Below a folder of weights, in the order in which they are looked into.
LAYOUTS = (
    "",
    "base_models",
    "retargeting_models",
    "liveportrait",
    "liveportrait/base_models",
    "liveportrait/retargeting_models",
)
CONVERTED_ANIMALS = "animal"
ANIMAL_LAYOUTS = (
    "liveportrait_animals/base_models_v1.1",
    "base_models_v1.1",
    "liveportrait_animals/base_models",
    CONVERTED_ANIMALS,
)
"""The same of the networks for animals. Their files have the names of those for humans, so that they are never flat."""
MODELS = {"humans": tuple(NETWORKS), "animals": MAIN_NETWORKS}
"""The published models, with the networks that each has. Those for animals were trained without the small ones."""
STITCHING = "stitching_retargeting_module"


class WeightsError(LivePortraitError):
    """Weights are missing, damaged, or not those of the LivePortrait networks."""


def default_folder() -> Path:
    """Where weights are kept: $LPV2V_WEIGHTS, or ~/.cache/liveportrait-v2v/weights."""
    return Path(os.environ.get("LPV2V_WEIGHTS") or Path.home() / ".cache" / "liveportrait-v2v" / "weights")


def default_folders() -> list[Path]:
    """Where weights are looked for: the default folder, then where a ComfyUI on this machine keeps them.

    Its extra_model_paths.yaml counts too.
    """
    folders = [default_folder()]
    for home in comfyui_homes():
        folders.append(home / "models" / "liveportrait")
        if (home / "extra_model_paths.yaml").is_file():
            folders += folders_of_model_paths(home / "extra_model_paths.yaml")
    return list(dict.fromkeys(folders))


def comfyui_homes() -> list[Path]:
    """Return the folders of ComfyUIs on this machine.

    That is the one of $COMFYUI_PATH, the one that this package is installed in, and one in the current or the home
    folder.
    """
    homes = [Path(__file__).resolve().parents[4].parent, Path.cwd()]
    homes += [parent / "ComfyUI" for parent in (Path.cwd(), Path.home(), Path.home() / "comfy")]
    if os.environ.get("COMFYUI_PATH"):
        homes.insert(0, Path(os.environ["COMFYUI_PATH"]))
    return [home for home in homes if (home / "main.py").is_file() and (home / "models").is_dir()]


def folders_of_model_paths(path: str | os.PathLike[str]) -> list[Path]:
    """Return the folders that a file like ComfyUI's extra_model_paths.yaml names for `liveportrait`.

    Raises:
        WeightsError: the file can't be read.
    """
    path = Path(path)
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path}: can't be read as a file of model paths: {problem}") from error
    folders: list[Path] = []
    for section in sections.values() if isinstance(sections, Mapping) else ():
        if not isinstance(section, Mapping):
            continue
        base = os.path.expandvars(os.path.expanduser(str(section.get("base_path") or "")))
        # Inside a block scalar YAML reads comments as text.
        named = (line.strip() for line in str(section.get("liveportrait") or "").splitlines())
        folders += [path.parent / base / name for name in named if name and not name.startswith("#")]
    return folders


def locate(folder: str | os.PathLike[str], *names: str, layouts: Sequence[str] = LAYOUTS) -> Path | None:
    """Return the first of these file names that exists in a folder of weights, in one of its layouts."""
    for layout in layouts:
        for name in names:
            path = Path(folder, layout, name)
            if path.is_file():
                return path
    return None


def check_model(model: str) -> None:
    """Check the name of a model.

    Raises:
        SettingsError: it is none of MODELS.
    """
    if model not in MODELS:
        raise SettingsError(f"model must be one of {', '.join(MODELS)}, got {model!r}")


def find_weights(folders: Iterable[str | os.PathLike[str]], model: str = "humans") -> dict[str, Path]:
    """Return the file of each network, from the first folder that has all of them.

    Args:
        model: one of MODELS.

    Raises:
        WeightsError: no folder has them all; the message says what is missing where, and what to do.
    """
    names, lacking = MODELS[model], []
    for folder in folders:
        found = max((_found(folder, layouts, names) for layouts in _layouts(folder, model)), key=len)
        if len(found) == len(names):
            return found
        missing = [name for name in names if name not in found]
        lacking.append(f"{folder} ({'empty or absent' if not found else 'lacks ' + ', '.join(missing)})")
    which = "LivePortrait weights" if model == "humans" else f"LivePortrait weights for {model}"
    places = "" if model == "humans" else f" in a folder {' or '.join(ANIMAL_LAYOUTS)}"
    raise WeightsError(
        f"the {which} ({', '.join(names)}, each .safetensors or .pth{places}) are in none of: "
        f"{'; '.join(lacking)}; {remedy('weights' if model == 'humans' else 'animals')}"
    )


def _layouts(folder: str | os.PathLike[str], model: str) -> Sequence[tuple[str, ...]]:
    """Return sets of folders below this one, each of which may hold a whole model."""
    if model == "humans":
        return [LAYOUTS]
    # Old and new networks for animals don't go together.
    own = Path(folder).name in {Path(layout).name for layout in ANIMAL_LAYOUTS}
    return [("",)] * own + [(layout,) for layout in ANIMAL_LAYOUTS]


def _found(folder: str | os.PathLike[str], layouts: Sequence[str], names: Iterable[str]) -> dict[str, Path]:
    files = {name: locate(folder, f"{name}.safetensors", f"{name}.pth", layouts=layouts) for name in names}
    return {name: path for name, path in files.items() if path is not None}


def load_networks(
    folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    compile: bool = False,  # noqa: A002 - the field's word
    forms: Forms | None = None,
    model: str = "humans",
) -> Networks:
    """Load the networks with the weights of a folder.

    Args:
        folder: flat, or laid out as upstream's repository. The first of several that has all weights counts; None
            stands for the default folders.
        precision: "auto", "fp16", "bf16-convs" or "fp32", see `resolve_precision`.
        compile: compile W and G at their first use.
        forms: how they compute; None for what is usual on the device.
        model: one of MODELS.

    Raises:
        SettingsError: no such model.
        WeightsError: weights are missing, damaged or not those of the networks.
    """
    check_model(model)
    if folder is None:
        folder = default_folders()
    files = find_weights([folder] if isinstance(folder, (str, os.PathLike)) else folder, model)
    return Networks(
        lambda name: read_weights(name, files[name]), device, precision, compile, forms, names=files
    )


def read_weights(name: str, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of one network, in float32 under the names that NETWORKS has, on the CPU.

    `.pth` files are read without unpickling anything but tensors.

    Raises:
        WeightsError: the file can't be read, or a tensor is missing, unknown, misshapen or not finite.
    """
    path = Path(path)
    _check_kind(path)
    try:
        tensors: Any
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: holds other things than tensors, and those are not unpickled") from error
    # Damaged bytes lead the readers to whatever they happen to raise.
    except Exception as error:
        raise WeightsError(
            f"{path}: can't be read, it may be damaged or cut short: {error or type(error).__name__}; "
            f"download it again"
        ) from error
    if name == STITCHING:
        tensors = _flatten_groups(tensors)
    _check(name, tensors, path)
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def verify_weights(name: str, path: str | os.PathLike[str]) -> None:
    """Read one network's file in full: its tensors, and where it is a zip archive the checksum of each part.

    Raises:
        WeightsError: as `read_weights`, or a part has another checksum.
    """
    path = Path(path)
    read_weights(name, path)
    if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise WeightsError(
                f"{path}: {damaged} in it is damaged: its checksum is wrong; download it again"
            )


def _check_kind(path: Path) -> None:
    """Refuse files that a download leaves in place of weights.

    Raises:
        WeightsError: it can't be read, or is text.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(200).lstrip().lower()
    except OSError as error:
        raise WeightsError(f"{path}: can't be read: {error.strerror or error}") from error
    if head.startswith(b"version https://git-lfs"):
        kind = "a Git LFS pointer, not the file that it stands for"
    elif head.startswith((b"<!doctype", b"<html", b"<?xml")):
        kind = "a web page"
    else:
        return
    raise WeightsError(f"{path}: is {kind}; delete it, then {remedy('weights')}")


def _flatten_groups(tensors: object) -> object:
    """Return the stitching file's tensors in one level, without the groups that no network here has.

    Upstream has a dictionary for each group, whose names begin with `module.`. Anything else is left to `_check`.
    """
    if not isinstance(tensors, Mapping):
        return tensors
    flat: dict[str, Any] = {}
    for group, value in tensors.items():
        if isinstance(value, Mapping):
            inner = {str(key).removeprefix("module."): tensor for key, tensor in value.items()}
            flat |= {f"{group}_module.{key}": tensor for key, tensor in inner.items()}
        else:
            flat[str(group)] = value
    groups = {key.split(".")[0] for key in blank_network(STITCHING).state_dict()}
    return {key: value for key, value in flat.items() if key.split(".")[0] in groups}


def _check(name: str, tensors: object, path: Path) -> None:
    """Compare a file with what its network needs; only batch norms' counters may be absent.

    Raises:
        WeightsError: naming the first tensor that is wrong, and how many are.
    """
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(
            f"{path}: is not a table of tensors, as the weights of {name} are; download it again"
        )
    expected = blank_network(name).state_dict()
    wrong = [
        f"{key} is missing"
        for key in expected
        if key not in tensors and not key.endswith("num_batches_tracked")
    ]
    wrong += [f"{key} is unknown" for key in tensors if key not in expected]
    wrong += [
        f"{key} has shape {list(tensors[key].shape)} where {list(value.shape)} is needed"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    wrong += [
        f"{key} holds {str(tensors[key].dtype).removeprefix('torch.')} where floats are needed"
        for key, value in expected.items()
        if key in tensors and value.is_floating_point() and not tensors[key].is_floating_point()
    ]
    wrong += [
        f"{key} has values that are not finite"
        for key, value in expected.items()
        if key in tensors and value.is_floating_point() and not tensors[key].isfinite().all()
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise WeightsError(f"{path}: not the weights of {name}: {wrong[0]}{more}; download it again")


def convert_weights(files: Mapping[str, Path], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each network's weights as flat safetensors into a folder; a file appears complete or not at all.

    Args:
        files: as `find_weights` gives them.

    Raises:
        WeightsError: as `read_weights` does.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, source in files.items():
        tensors = {key: value.contiguous() for key, value in read_weights(name, source).items()}
        path = folder / f"{name}.safetensors"
        with atomic_write(path) as part:
            part.write_bytes(save(tensors))
        written.append(path)
    return written
