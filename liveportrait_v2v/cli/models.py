"""Command `models`: the LivePortrait weights on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..files import sha256_of
from .common import Commands
from .progress import ProgressLine
from .stop import Stop

MEGABYTE = 1_000_000


def add(commands: Commands) -> None:
    """Add the parser of `models`."""
    parser = commands.add_parser(
        "models",
        help="find, download, convert and verify the LivePortrait weights",
        description="Manages the LivePortrait weights on this machine. They are looked for in $LPV2V_WEIGHTS (default: "
        "~/.cache/liveportrait-v2v/weights), then in models/liveportrait of a ComfyUI installation and in the folders "
        "that its extra_model_paths.yaml lists.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, text in (
        ("status", _status, "list the weights that were found"),
        ("download", _download, "download missing weights; resumes a partial download"),
        (
            "convert",
            _convert,
            "write the weights as flat safetensors, those for animals into a folder `animal`",
        ),
        ("verify", _verify, "read all weights and check them against the networks"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        action.set_defaults(run=run)
        action.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
        action.add_argument(
            "--animals", action="store_true", help="the networks for animals in place of those for humans"
        )
        if name == "download":
            action.add_argument("--to", metavar="DIR", help="target folder (default: the first folder above)")
            action.add_argument(
                "--format",
                choices=("safetensors", "pth"),
                help="safetensors, or the .pth files that upstream published (default: safetensors; those for animals "
                "exist as .pth only)",
            )
            action.add_argument(
                "--landmarks",
                action="store_true",
                help="also download landmark.onnx, upstream's landmark network; needs onnxruntime",
            )
            continue
        action.add_argument(
            "--weights",
            metavar="DIR",
            action="append",
            default=[],
            help="folder to look in; may be given several times",
        )
        action.add_argument(
            "--model-paths", metavar="FILE.yaml", help="file in the format of extra_model_paths.yaml"
        )
        if name == "convert":
            action.add_argument("-o", "--output", metavar="DIR", required=True, help="target folder")


@dataclass(frozen=True)
class _File:
    path: Path
    checked: str = ""

    def to_dict(self) -> dict[str, object]:
        checked = {"checked": self.checked} if self.checked else {}
        return {"file": str(self.path), "bytes": self.path.stat().st_size, **checked}

    def __str__(self) -> str:
        note = f"  {self.checked}" if self.checked else ""
        return f"{self.path}  {self.path.stat().st_size / MEGABYTE:.1f} MB{note}"


def _model(options: argparse.Namespace) -> str:
    return "animals" if options.animals else "humans"


def _folders(options: argparse.Namespace) -> list[Path]:
    from ..engines.liveportrait.weights import default_folders, folders_of_model_paths

    folders = [Path(folder) for folder in options.weights]
    if options.model_paths:
        folders += folders_of_model_paths(options.model_paths)
    return folders or default_folders()


def _print(files: list[_File], as_json: bool, closing: str = "") -> None:
    if as_json:
        print(json.dumps({"files": [file.to_dict() for file in files]}))
        return
    for file in files:
        print(file)
    if closing:
        print(closing)


def _status(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.download import LANDMARKS
    from ..engines.liveportrait.weights import WeightsError, find_weights, locate

    folders = _folders(options)
    try:
        files = list(find_weights(folders, _model(options)).values())
        closing = ""
    except WeightsError as error:
        files, closing = [], str(error)
    found = () if options.animals else (locate(folder, LANDMARKS.name) for folder in folders)
    landmarks = next(filter(None, found), None)
    _print([_File(path) for path in (*files, *([landmarks] if landmarks else []))], options.json, closing)


def _download(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait import download
    from ..engines.liveportrait.weights import default_folder

    if options.animals and (options.format == "safetensors" or options.landmarks):
        raise SettingsError(
            "the networks for animals are published as .pth alone, without landmarks: give --animals without "
            "--format safetensors and --landmarks; `models convert --animals` makes safetensors of them"
        )
    files, below = download.PUBLISHED[_model(options)]
    if options.format == "pth" and not options.animals:
        files = download.UPSTREAM
    if options.landmarks:
        files = (*files, download.LANDMARKS)
    with ProgressLine() as line:

        def show(name: str, done: int, total: int | None) -> None:
            line.show_count(done // MEGABYTE, total and total // MEGABYTE, name, "MB/s")

        paths = download.download(
            files, Path(options.to or default_folder(), below), on_progress=show, cancelled=stop
        )
    _print([_File(path) for path in paths], options.json)


def _convert(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.weights import CONVERTED_ANIMALS, convert_weights, find_weights

    folder = Path(options.output, CONVERTED_ANIMALS) if options.animals else options.output
    paths = convert_weights(find_weights(_folders(options), _model(options)), folder)
    _print([_File(path) for path in paths], options.json)


def _verify(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.download import KNOWN
    from ..engines.liveportrait.weights import find_weights, verify_weights

    files = []
    for name, path in find_weights(_folders(options), _model(options)).items():
        verify_weights(name, path)
        checked = "all tensors are right"
        if path.name in KNOWN and not options.animals:
            published = sha256_of(path) == KNOWN[path.name].sha256
            checked += ", the file is as published" if published else ", the file is not the published one"
        files.append(_File(path, checked))
    _print(files, options.json)
