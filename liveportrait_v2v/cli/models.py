"""The command `models`: the LivePortrait weights on this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..files import sha256_of
from .progress import ProgressLine
from .stop import Stop

MEGABYTE = 1_000_000


def add(commands) -> None:
    parser = commands.add_parser(
        "models",
        help="find, download, convert and verify the LivePortrait weights",
        description="The LivePortrait weights on this machine. They are looked for in $LPV2V_WEIGHTS (default: "
        "~/.cache/liveportrait-v2v/weights), then in models/liveportrait of a ComfyUI and in what its "
        "extra_model_paths.yaml names.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, help in (
        ("status", _status, "say which weights are where"),
        ("download", _download, "fetch what is missing; goes on where it stopped"),
        ("convert", _convert, "write the weights as flat safetensors"),
        ("verify", _verify, "read all weights and hold them to what the networks need"),
    ):
        action = actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        action.set_defaults(run=run)
        action.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
        if name == "download":
            action.add_argument("--to", metavar="DIR", help="where they go (default: the first folder above)")
            action.add_argument(
                "--format",
                choices=("safetensors", "pth"),
                default="safetensors",
                help="safetensors, or the .pth files as upstream published them (default: safetensors)",
            )
            action.add_argument(
                "--landmarks",
                action="store_true",
                help="landmark.onnx as well, which upstream measures faces by; needs onnxruntime",
            )
            continue
        action.add_argument(
            "--weights", metavar="DIR", action="append", default=[], help="look here; may come several times"
        )
        action.add_argument(
            "--model-paths", metavar="FILE.yaml", help="look where a file like extra_model_paths.yaml says"
        )
        if name == "convert":
            action.add_argument("-o", "--output", metavar="DIR", required=True, help="where the files go")


def _folders(options: argparse.Namespace) -> list[Path]:
    from ..engines.liveportrait.weights import default_folders, folders_of_model_paths

    folders = [Path(folder) for folder in options.weights]
    if options.model_paths:
        folders += folders_of_model_paths(options.model_paths)
    return folders or default_folders()


def _row(path: Path, **more: object) -> dict[str, Any]:
    return {"file": str(path), "bytes": path.stat().st_size, **more}


def _show(rows: list[dict[str, Any]], as_json: bool, closing: str = "") -> None:
    if as_json:
        print(json.dumps({"files": rows}))
        return
    for row in rows:
        note = f"  {row['checked']}" if "checked" in row else ""
        print(f"{row['file']}  {row['bytes'] / MEGABYTE:.1f} MB{note}")
    if closing:
        print(closing)


def _status(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.download import LANDMARKS
    from ..engines.liveportrait.weights import WeightsError, find_weights, locate

    folders = _folders(options)
    try:
        files = list(find_weights(folders).values())
        closing = ""
    except WeightsError as error:
        files, closing = [], str(error)
    points = next(filter(None, (locate(folder, LANDMARKS.name) for folder in folders)), None)
    _show([_row(path) for path in (*files, *([points] if points else []))], options.json, closing)


def _download(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait import download
    from ..engines.liveportrait.weights import default_folder

    files = download.SAFETENSORS if options.format == "safetensors" else download.UPSTREAM
    if options.landmarks:
        files = (*files, download.LANDMARKS)
    with ProgressLine() as line:

        def show(name: str, done: int, total: int | None) -> None:
            line.show_count(done // MEGABYTE, total and total // MEGABYTE, name, "MB/s")

        paths = download.download(files, options.to or default_folder(), on_progress=show, cancelled=stop)
    _show([_row(path) for path in paths], options.json)


def _convert(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.weights import convert_weights, find_weights

    _show(
        [_row(path) for path in convert_weights(find_weights(_folders(options)), options.output)],
        options.json,
    )


def _verify(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.liveportrait.download import KNOWN
    from ..engines.liveportrait.weights import find_weights, read_weights

    rows = []
    for name, path in find_weights(_folders(options)).items():
        read_weights(name, path)
        checked = "all tensors are right"
        if path.name in KNOWN:
            published = sha256_of(path) == KNOWN[path.name].sha256
            checked += ", the file is as published" if published else ", the file is not the published one"
        rows.append(_row(path, checked=checked))
    _show(rows, options.json)
