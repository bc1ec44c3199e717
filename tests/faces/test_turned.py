"""Faces of any turn, upside down among them: found, and the right way up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liveportrait_v2v.faces import FaceTracker, search
from liveportrait_v2v.faces.detect import detect_turned
from liveportrait_v2v.media import Clip

pytestmark = pytest.mark.slow

GREY = (90, 90, 90)
FRAMES = 4
CLIPS = {"single_face": 0, "jwp_intro": 8, "wolfgang": 23, "carphone": 42, "cap13": 650}
"""First frame of each; some that are easily taken for a face the wrong way up."""


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
def test_a_turned_face_is_found_the_right_way_up(upright, degrees):
    frames, wanted = upright
    landmarks, present, _ = FaceTracker().track(turned(frames, degrees)).face(0)
    assert present.all()
    size = (wanted[0].amax(0) - wanted[0].amin(0)).max()
    errors = (turned_back(landmarks[..., :2], frames, degrees) - wanted).norm(dim=-1).mean(1) / size
    assert errors.max() < 0.03


def test_a_face_upside_down_that_comes_late_is_found_within_sixteen_frames(upright):
    there = turned(upright[0], 180)[:1]
    away = torch.full((3, *there.shape[1:]), 90, dtype=torch.uint8)
    present = FaceTracker().track(torch.cat((away, there.expand(14, -1, -1, -1)))).present
    assert not present[:3].any()
    assert present[16, 0]


def test_pictures_without_a_face_are_turned_in_every_sixteenth_search_only(monkeypatch):
    turns = []

    def counted(frame, net, device, quarters):
        turns.append(quarters)
        return detect_turned(frame, net, device, quarters)

    monkeypatch.setattr(search, "detect_turned", counted)
    FaceTracker().track(torch.full((40, 90, 160, 3), 90, dtype=torch.uint8))
    assert turns == [1, 2, 3] * 3


def test_an_upright_face_costs_no_look_at_the_picture_turned(upright, monkeypatch):
    monkeypatch.setattr(search, "detect_turned", None)
    assert FaceTracker().track(upright[0]).present[:, 0].all()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_what_is_detected_in_a_turned_picture_is_placed_in_the_upright_one(upright, quarters):
    frame, landmarks = upright[0][:1], upright[1][0]
    (found, *_) = detect_turned(
        torch.rot90(frame, -quarters, (1, 2)), "face_detector_full_range", "cpu", quarters
    )
    # rot90 moves a point to (y, width - x) and so on: the inverse by the picture of an index.
    height, width = frame.shape[1:3]
    x, y = landmarks[468:473].mean(0).tolist()
    places = {1: (height - y, x), 2: (width - x, height - y), 3: (y, width - x)}
    eye = torch.tensor(found.right_eye)
    assert (eye - torch.tensor(places[quarters])).norm() < 0.15 * (
        landmarks.amax(0) - landmarks.amin(0)
    ).max()


def test_a_face_in_goggles_is_found_in_every_frame_that_a_clip_may_begin_with():
    clip = Clip(Path(__file__).parents[2] / "examples" / "example_driving.mp4")
    frames = torch.cat([chunk.frames for chunk in clip.chunks()])
    begun = [FaceTracker().track(frame[None]).present.any().item() for frame in frames[::6]]
    assert sum(begun) >= len(begun) - 1  # of one of them no detector finds anything
