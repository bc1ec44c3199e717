"""The command `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import MediaError
from .animate import describe
from .progress import ProgressLine
from .stop import Stop


def add(commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="animate demo/source.mp4 by demo/driving.mp4",
        description="Animates source.mp4 by driving.mp4 in the folder DIR with the draft engine, and shows "
        "driving, source and result side by side.",
    )
    parser.add_argument("--dir", default="demo", metavar="DIR", help="where the clips lie (default: demo)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    folder = Path(options.dir)
    missing = [name for name in ("source.mp4", "driving.mp4") if not (folder / name).is_file()]
    if missing:
        raise MediaError(
            folder, f"{' and '.join(missing)} not found; run `make demo`, or put your own two clips there"
        )
    from .side_by_side import SIDE_BY_SIDE, run_demo

    with ProgressLine() as line:
        result = run_demo(folder, on_progress=line.show, on_count=line.show_count, cancelled=stop)
    print(f"{describe(result)}\n{folder / SIDE_BY_SIDE}: driving, source and result side by side")
