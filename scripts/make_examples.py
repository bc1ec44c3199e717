#!/usr/bin/env python3
"""Make the example clips that Load Video offers, of generated faces.

python scripts/make_examples.py examples
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch
from PIL import Image

import fetch_clips
from liveportrait_v2v.media import Clip, VideoWriter

SOURCE, DRIVING, SECOND, CAT = "wan2", "humo", "ltx2", "cat"
CRF = 26
RATE = Fraction(15)
# Frames of the second clip before its camera has come to rest.
SKIPPED, BOTH_FRAMES = 20, 25


def frames_of(path: Path, **options) -> torch.Tensor:
    """Return the frames of a clip, uint8 [N, H, W, 3]."""
    return torch.cat([chunk.frames for chunk in Clip(path).chunks(**options)])


def write(path: Path, frames: torch.Tensor, rate: Fraction) -> None:
    """Write frames as a video without sound."""
    with VideoWriter(path, rate, crf=CRF) as writer:
        for chunk in frames.split(8):
            writer.write(chunk)


def main(folder: Path) -> Iterator[Path]:
    """Write the examples; yield their paths."""
    clips = fetch_clips.fetch([SOURCE, DRIVING, SECOND, CAT])
    folder.mkdir(parents=True, exist_ok=True)
    for name, key, rows, columns in (
        ("source", SOURCE, slice(20, 284), slice(None)),
        ("driving", DRIVING, slice(20, 236), slice(10, 298)),
    ):
        path = folder / f"example_{name}.mp4"
        write(path, frames_of(clips[key])[:, rows, columns], Clip(clips[key]).info.rate)
        yield path
    left = frames_of(clips[SECOND], skip=SKIPPED, cap=BOTH_FRAMES)
    right = frames_of(clips[SOURCE], rate=RATE, cap=BOTH_FRAMES)
    path = folder / "example_two_faces.mp4"
    # The outer edges are cut, so that the faces are near each other.
    write(path, torch.cat((left[:, 20:, 30:], right[:, :330, :320]), 2), RATE)
    yield path
    path = folder / "example_picture.jpg"
    Image.fromarray(frames_of(clips[SOURCE], cap=1)[0].numpy()).save(path, quality=88)
    yield path
    path = folder / "example_cat.jpg"
    Image.open(clips[CAT]).save(path, quality=88)
    yield path


if __name__ == "__main__":
    for made in main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples")):
        print(f"{made}: {made.stat().st_size / 1000:.0f} kB")
