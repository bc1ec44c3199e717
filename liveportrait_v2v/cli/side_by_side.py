"""The demo: one clip animated by another, and the three of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..engines import create_engine
from ..errors import Cancelled
from ..media import Clip, VideoWriter
from ..run import Progress, Result, animate
from ..settings import AnimationSettings

SIDE_BY_SIDE = "side_by_side.mp4"
PANEL_HEIGHT = 360


def run_demo(
    folder: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_count: Callable[[int, int | None, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Animates source.mp4 by driving.mp4 in a folder, with the draft engine and the driving clip's sound.

    Leaves result.mp4 and side_by_side.mp4 in the folder.

    Args:
        on_progress: called by the animation.
        on_count: called with frames done, frames in all and what is being made, by the side-by-side clip.
        cancelled: asked after each chunk.

    Raises:
        LivePortraitError: as `animate` does; Cancelled among them.
    """
    source, driving = folder / "source.mp4", folder / "driving.mp4"
    output, together = folder / "result.mp4", folder / SIDE_BY_SIDE
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
    side_by_side(panels, together, result, on_count=on_count, cancelled=cancelled)
    return result


def side_by_side(
    panels: dict[str, Path],
    output: Path,
    result: Result,
    *,
    on_count: Callable[[int, int | None, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Writes clips next to each other, each under its name, at the result's rate, length and with its sound.

    Args:
        panels: name -> clip, from left to right. The clip called "result" gives the sound.

    Raises:
        MediaError: a clip can't be read or the output not written.
        Cancelled: `cancelled` said so.
    """
    labels = {name: _label(name) for name in panels}
    streams = [Clip(path).chunks(8, rate=result.rate, cap=result.frames) for path in panels.values()]
    sound = Clip(panels["result"]).audio(Fraction(result.frames) / result.rate)
    done = 0
    with VideoWriter(output, result.rate, audio=sound) as writer:
        for chunks in zip(*streams, strict=False):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while putting the clips side by side")
            count = min(len(chunk.frames) for chunk in chunks)
            parts = [
                _panel(chunk.frames[:count], labels[name]) for name, chunk in zip(panels, chunks, strict=True)
            ]
            writer.write(torch.cat(parts, dim=2))
            done += count
            if on_count is not None:
                on_count(done, result.frames, "side by side")


def _panel(frames: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Frames [N, H, W, 3] scaled to the panels' height and an even width, with the label in the corner."""
    height, width = frames.shape[1:3]
    size = (PANEL_HEIGHT, max(label.shape[1], 2 * round(width * PANEL_HEIGHT / height / 2)))
    planes = frames.permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    panel = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    panel[:, : label.shape[0], : label.shape[1]] = label
    return panel


def _label(text: str) -> torch.Tensor:
    font = ImageFont.load_default(16)
    width = 2 * round((font.getlength(text) + 16) / 2)
    picture = Image.new("RGB", (width, 26), "#16181d")
    ImageDraw.Draw(picture).text((width / 2, 13), text, "#e8eaed", font, anchor="mm")
    return torch.from_numpy(np.array(picture))
