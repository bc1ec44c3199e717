"""Small clips with the frame number encoded as brightness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import torch

from liveportrait_v2v.media import Audio, Clip, VideoWriter

STEP = 8


def make_clip(
    path: Path,
    frames: int = 6,
    rate: Fraction | int = 25,
    *,
    shade: int = 0,
    size: tuple[int, int] = (64, 48),
    audio: Audio | None = None,
) -> Path:
    """Write a clip of uniform grey frames: `shade`, and STEP brighter with each frame."""
    width, height = size
    with VideoWriter(path, Fraction(rate), audio=audio, crf=10) as writer:
        for number in range(frames):
            writer.write(torch.full((1, height, width, 3), shade + STEP * number, dtype=torch.uint8))
    return path


def numbers_of(clip: Clip, shade: int = 0) -> list[int]:
    """Numbers of a clip's frames, by their brightness."""
    return [
        round((frame.float().mean().item() - shade) / STEP)
        for chunk in clip.chunks()
        for frame in chunk.frames
    ]
