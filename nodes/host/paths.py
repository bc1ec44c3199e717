"""Files and folders: input, output, temp, models, and the one that is never served."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from ...liveportrait_v2v.errors import MediaError, SettingsError

EXAMPLES = Path(__file__).parents[2] / "examples"
"""Clips of generated faces, 0.3 MB in all, for the templates and the first try."""
_log = logging.getLogger(__name__)


def input_clips() -> list[str]:
    """Return the names of the videos, and behind them the pictures, in ComfyUI's input folder.

    The pack's examples are put there first: the front end shows files of no other folder.
    """
    import folder_paths

    _offer_examples()
    folder = folder_paths.get_input_directory()
    files = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    videos = folder_paths.filter_files_content_types(files, ["video"])
    return [*videos, *folder_paths.filter_files_content_types(files, ["image"])]


def _offer_examples() -> None:
    """Copy those of the pack's example clips into ComfyUI's input folder that it lacks."""
    import folder_paths

    folder = Path(folder_paths.get_input_directory())
    for example in EXAMPLES.iterdir():
        if not (folder / example.name).exists():
            try:
                shutil.copyfile(example, folder / example.name)
            except OSError as error:
                _log.warning("LivePortrait: the example %s could not be copied: %s", example.name, error)


def input_path(name: str) -> Path | None:
    """Return the file that a widget names, None where there is none or the name leads out of its folder.

    The folder is ComfyUI's input folder, or the one of a name that ends in " [output]" or " [temp]". Links count by
    where they lead.
    """
    import folder_paths

    name, folder = folder_paths.annotated_filepath(name)
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a null character
        return None


def chosen_file(name: str, missing: str) -> Path:
    """Return the file that a loader's widget names, as `input_path` does.

    Args:
        missing: what is said where there is none, with the remedy.

    Raises:
        MediaError: there is no such file.
    """
    path = input_path(name)
    if path is None:
        raise MediaError(name, missing)
    return path


def fingerprint(path: Path) -> str:
    """Return what changes when a file does."""
    status = path.stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def saved_files(endings: Collection[str]) -> list[str]:
    """Return the names of files with these endings, in lower case, in ComfyUI's input and output folders.

    Those of the output folder, and of the folders there, are marked as core marks them.
    """
    import folder_paths

    inputs, outputs = Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())

    def found(folder: Path, *forms: str) -> list[str]:
        paths = [path for form in forms for path in folder.glob(form) if path.suffix.lower() in endings]
        return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())

    return [*found(inputs, "*"), *(f"{name} [output]" for name in found(outputs, "*", "*/*"))]


def output_file(prefix: str, suffix: str) -> tuple[Path, str]:
    """Return a new file in ComfyUI's output folder, numbered as core does it, and its name below that folder.

    Raises:
        SettingsError: the prefix has no name, or leads out of the folder.
    """
    import folder_paths

    rule = (
        "filename_prefix must name a file in ComfyUI's output folder, with a folder before it or without, got"
    )
    if not Path(prefix).name or "\0" in prefix:
        raise SettingsError(f"{rule} {prefix!r}")
    root = folder_paths.get_output_directory()
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root)
    except Exception as error:  # core raises no narrower one
        raise SettingsError(f"{rule} {prefix!r}: {error}") from error
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, f"{subfolder}/{file}".lstrip("/")


def temp_file(suffix: str) -> Path:
    """Return a new name in ComfyUI's temp folder."""
    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"liveportrait_{uuid.uuid4().hex}{suffix}"


def with_stem(file: Path, stem: str) -> Path:
    """Move a temporary file that messages name into a folder of its own, under this stem; return its new path."""
    folder = file.with_suffix("")
    folder.mkdir()
    return file.rename(folder / f"{stem}{file.suffix}")


def system_folder() -> Path:
    """Return the pack's folder that ComfyUI never serves over HTTP: keys, and the journal of paid jobs."""
    import folder_paths

    return Path(folder_paths.get_system_user_directory("liveportrait_v2v"))


def model_folders() -> list[Path]:
    """Return the folders of the LivePortrait weights: ComfyUI's own first, then those of extra_model_paths.yaml."""
    import folder_paths

    own = Path(folder_paths.models_dir) / "liveportrait"
    folder_paths.add_model_folder_path("liveportrait", str(own))
    named = map(Path, folder_paths.get_folder_paths("liveportrait"))
    return list(dict.fromkeys([own, *named]))


def own_folders() -> list[Path]:
    """Return ComfyUI's folders, to be left out of messages."""
    import folder_paths

    inside = [folder_paths.get_input_directory(), folder_paths.get_temp_directory()]
    return [Path(folder) for folder in (*inside, folder_paths.base_path)]
