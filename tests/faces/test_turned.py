"""Faces of any turn, upside down among them: found the right way up, or not at all."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Clip

pytestmark = pytest.mark.slow

GREY = (90, 90, 90)
FRAMES = 4
CLIPS = {"single_face": 0, "jwp_intro": 20, "wolfgang": 300, "carphone": 10}
"""First frame of each."""


@pytest.fixture(scope="module", params=CLIPS)
def upright(request, clips) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of a real clip, and x and y of the landmarks of their face."""
    frames = next(Clip(clips[request.param]).chunks(FRAMES, skip=CLIPS[request.param])).frames
    landmarks, present, _ = FaceTracker().track(frames).face(0)
    assert present.all()
    return frames, landmarks[..., :2]


def turned(frames: torch.Tensor, degrees: int) -> torch.Tensor:
    """Frames turned about their centre, to the left, in a square that holds them."""
    height, width = frames.shape[1:3]
    side = math.ceil(math.hypot(height, width) / 2) * 2
    pictures = []
    for frame in frames.numpy():
        canvas = Image.new("RGB", (side, side), GREY)
        canvas.paste(Image.fromarray(frame), ((side - width) // 2, (side - height) // 2))
        pictures.append(np.asarray(canvas.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=GREY)))
    return torch.from_numpy(np.stack(pictures))


def turned_back(points: torch.Tensor, frames: torch.Tensor, degrees: int) -> torch.Tensor:
    height, width = frames.shape[1:3]
    side = math.ceil(math.hypot(height, width) / 2) * 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (points - side / 2).unbind(-1)
    return torch.stack((x * cos - y * sin + width / 2, x * sin + y * cos + height / 2), -1)


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_a_turned_face_is_right_or_not_found(upright, degrees):
    frames, wanted = upright
    tracks = FaceTracker().track(turned(frames, degrees))
    size = (wanted[0].amax(0) - wanted[0].amin(0)).max()
    for number in range(tracks.present.shape[1]):
        landmarks, present, _ = tracks.face(number)
        back = turned_back(landmarks[..., :2], frames, degrees)
        errors = (back - wanted).norm(dim=-1).mean(1)[present] / size
        assert errors.max() < 0.03


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 270, 300, 330])
def test_a_face_that_lies_on_its_side_is_found(upright, degrees):
    assert FaceTracker().track(turned(upright[0], degrees)).present[:, 0].all()


def test_a_face_in_goggles_is_found_in_every_frame_that_a_clip_may_begin_with():
    clip = Clip(Path(__file__).parents[2] / "examples" / "example_driving.mp4")
    frames = torch.cat([chunk.frames for chunk in clip.chunks()])
    begun = [FaceTracker().track(frame[None]).present.any().item() for frame in frames[::6]]
    assert sum(begun) >= len(begun) - 1  # of one of them no detector finds anything
