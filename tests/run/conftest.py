"""Clips for runs: numbered frames with one or two faces."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from recording_engine import mark

from liveportrait_v2v.media import Audio, Clip, Frames, VideoWriter


@pytest.fixture(scope="module")
def faces(clips) -> torch.Tensor:
    """Twelve frames of a real face, 200 x 200."""
    with_face = next(Clip(clips["single_face"]).chunks(12)).frames
    return with_face[:, 60:260, 220:420].contiguous()


@pytest.fixture(scope="module")
def make(faces, tmp_path_factory) -> Callable[..., Path]:
    """make(count, rate, tone=None, without=()): a clip of numbered frames with a face, or grey where there is none."""
    folder = tmp_path_factory.mktemp("clips")

    def write(
        count: int, rate: int | Fraction, tone: float | None = None, without: range | tuple = ()
    ) -> Path:
        path = folder / f"{count}_{float(rate):g}_{tone}_{len(without)}_{next(iter(without), 0)}.mp4"
        if path.exists():
            return path
        sound = None
        if tone is not None:
            times = torch.arange(int(48000 * count / rate)) / 48000
            sound = Audio((0.5 * torch.sin(2 * torch.pi * tone * times)).unsqueeze(0), 48000)
        with VideoWriter(path, Fraction(rate), audio=sound, crf=10) as writer:
            for k in range(count):
                frame = torch.full_like(faces[0], 128) if k in without else faces[k % 12]
                writer.write(mark(frame, k).unsqueeze(0))
        return path

    return write


@pytest.fixture(scope="module")
def make_two(faces) -> Callable[..., Clip]:
    """make_two(count, rate): a clip of numbered frames with two faces, mirror images side by side."""

    def frames(count: int, rate: int) -> Clip:
        pair = torch.cat((faces, faces.flip(2)), 2)
        return Clip(Frames(torch.stack([mark(pair[k % 12], k) for k in range(count)]), Fraction(rate)))

    return frames
