"""Command `demo`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError
from ..settings import AnimationSettings
from .animate import describe
from .common import Commands
from .progress import ProgressLine
from .stop import Stop

if TYPE_CHECKING:
    from ..run import Progress, Result

SIDE_BY_SIDE = "side_by_side.mp4"


def add(commands: Commands) -> None:
    """Add the parser of `demo`."""
    parser = commands.add_parser(
        "demo",
        help="animate demo/source.mp4 with the motion of demo/driving.mp4",
        description="Animates DIR/source.mp4 with the motion of DIR/driving.mp4, using the draft engine, and shows "
        "driving, source and result side by side.",
    )
    parser.add_argument("--dir", default="demo", metavar="DIR", help="folder with the clips (default: demo)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    folder = Path(options.dir)
    missing = [name for name in ("source.mp4", "driving.mp4") if not (folder / name).is_file()]
    if missing:
        raise MediaError(
            folder, f"{' and '.join(missing)} not found; run `make demo`, or put your own two clips there"
        )
    with ProgressLine() as line:
        result = run_demo(folder, on_progress=line.show, on_count=line.show_count, cancelled=stop)
    print(f"{describe(result)}\n{folder / SIDE_BY_SIDE}: driving, source and result side by side")


def run_demo(
    folder: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_count: Callable[[int, int | None, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Animate a folder's source.mp4 by its driving.mp4 with the draft engine and the driving clip's audio.

    Writes result.mp4 and side_by_side.mp4 into the folder.

    Args:
        on_progress: called during the animation.
        on_count: called with frames done, frames in total and the stage while the side-by-side clip is written.
        cancelled: polled before each chunk.

    Raises:
        LivePortraitError: as `animate`, including Cancelled.
    """
    from ..engines import create_engine
    from ..run import animate
    from .side_by_side import side_by_side

    source, driving, output = folder / "source.mp4", folder / "driving.mp4", folder / "result.mp4"
    settings = AnimationSettings(driving_audio=True, mismatch_method="cut", video_frame_load_cap=0)
    result = animate(
        source,
        driving,
        output=output,
        settings=settings,
        engine=create_engine("draft", device="cpu"),
        on_progress=on_progress,
        cancelled=cancelled,
    )
    panels = {"driving": driving, "source": source, "result": output}
    side_by_side(panels, folder / SIDE_BY_SIDE, result, on_count=on_count, cancelled=cancelled)
    return result
