"""Clips side by side in one video file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..errors import Cancelled
from ..media import Clip, VideoWriter
from ..run import Result

PANEL_HEIGHT = 360


def side_by_side(
    panels: dict[str, Path],
    output: Path,
    result: Result,
    *,
    on_count: Callable[[int, int | None, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Write clips next to each other, labelled, with the result's rate, length and audio.

    Args:
        panels: name -> clip, from left to right; "result" gives the audio.
        on_count: called with frames done, frames in total and the stage.
        cancelled: polled before each chunk.

    Raises:
        MediaError: a clip can't be read, or the output can't be written.
        Cancelled: `cancelled` returned True.
    """
    labels = {name: _label(name) for name in panels}
    streams = [Clip(path).chunks(8, rate=result.rate, cap=result.frames) for path in panels.values()]
    audio = Clip(panels["result"]).stream_audio(Fraction(result.frames) / result.rate)
    done = 0
    with VideoWriter(output, result.rate, audio=audio) as writer:
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
    """Scale uint8 frames [N, H, W, 3] to the panel height and an even width, and label them."""
    height, width = frames.shape[1:3]
    size = (PANEL_HEIGHT, max(label.shape[1], 2 * round(width * PANEL_HEIGHT / height / 2)))
    planes = frames.permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    panel = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    panel[:, : label.shape[0], : label.shape[1]] = label
    return panel


def _label(text: str) -> torch.Tensor:
    """Draw a label, uint8 [26, W, 3] with an even W."""
    font = ImageFont.load_default(16)
    width = 2 * round((font.getlength(text) + 16) / 2)
    picture = Image.new("RGB", (width, 26), "#16181d")
    ImageDraw.Draw(picture).text((width / 2, 13), text, "#e8eaed", font, anchor="mm")
    return torch.from_numpy(np.array(picture))
