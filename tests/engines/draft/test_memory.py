"""Remembered eyes and mouths."""

from __future__ import annotations

import pytest
import torch
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, landmarks, picture

from liveportrait_v2v.compose import PixelRect, to_float
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.memory import Memory
from liveportrait_v2v.engines.draft.motion import RestingFace, Target, transfer
from liveportrait_v2v.engines.draft.mouth import draw_mouths
from liveportrait_v2v.engines.draft.warp import Rings, make_warp
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

WHOLE = PixelRect(0, 0, HEIGHT, WIDTH)
OPENED, SHUT = landmarks(size=7), landmarks(size=7, lids=0.02)


def target(sources: torch.Tensor, moved: torch.Tensor, rest: torch.Tensor) -> Target:
    """Target that moves a source face's landmarks [N, 478, 3] to others [478, 3]."""
    drivings, rests = moved.expand_as(sources), [RestingFace.of(rest), RestingFace.of(moved)]
    asked = transfer(sources, drivings, *rests, AnimationSettings(), MotionOptions(), True, False)
    return Target(**{**vars(asked), "moved": drivings})


def eyes_painted(frames: torch.Tensor, asked: Target, memory: Memory | None = None) -> torch.Tensor:
    """Pictures [N, 3, H, W] of a plain face with the eyes painted that the frames show."""
    pictures = to_float(picture(len(frames)))
    (memory or Memory()).learn(frames, asked).paint_eyes(pictures, asked, WHOLE, torch.ones(len(frames)))
    return pictures


def blue_iris(points: torch.Tensor) -> torch.Tensor:
    frames = picture()
    for _, _, iris in face.EYES:
        x, y = points[list(iris), :2].mean(0).int().tolist()
        frames[0, y - 2 : y + 2, x - 2 : x + 2] = torch.tensor([0, 0, 255], dtype=torch.uint8)
    return frames


def blueness(pictures: torch.Tensor, points: torch.Tensor) -> list[float]:
    """How much bluer an iris is than in a plain picture, by picture."""
    x, y = points[list(face.EYES[0][2]), :2].mean(0).int().tolist()
    return (pictures[:, 2, y, x] - float(picture()[0, y, x, 2])).tolist()


@pytest.mark.parametrize("lids", [1.0, 0.7], ids=["as wide as usual", "narrower"])
def test_eyes_that_begin_shut_open_as_soon_as_they_were_seen_open(lids):
    opened = landmarks(size=7, lids=lids)
    frames = torch.cat((picture(), blue_iris(opened), picture()))
    pictures = eyes_painted(frames, target(torch.stack((SHUT, opened, SHUT)), opened, SHUT))
    before, _, after = blueness(pictures, opened)
    assert before < 5
    assert after > 40


def test_remembered_eyes_look_where_the_driving_eyes_do():
    frames, sources = torch.cat((blue_iris(OPENED), picture())), torch.stack((OPENED, SHUT))
    ahead = target(sources, OPENED, OPENED)
    aside = Target(**{**vars(ahead), "gaze": ahead.own_gaze + torch.tensor([0.2, 0.0])})
    shift = 0.2 * (OPENED[133, 0] - OPENED[33, 0])
    picture_then = eyes_painted(frames, aside)[1]
    x, y = OPENED[list(face.EYES[0][2]), :2].mean(0).int().tolist()
    blue_not_red = picture_then[2, y] - picture_then[0, y]
    assert blue_not_red[x + round(shift.item())] > 40
    assert blue_not_red[x] < 0


def test_what_is_remembered_does_not_depend_on_where_chunks_end():
    sources = torch.stack((SHUT, OPENED, SHUT, OPENED, SHUT))
    frames = torch.cat((picture(), blue_iris(OPENED), picture(), picture(), picture()))
    asked = target(sources, OPENED, OPENED)
    memory, whole = Memory(), eyes_painted(frames, asked)
    parts = [
        eyes_painted(frames[part], asked[part], memory) for part in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_of_eyes_that_never_open_nothing_is_remembered():
    shut = landmarks(size=7, lids=0.1)
    asked = target(shut[None], OPENED, shut)
    assert torch.equal(eyes_painted(blue_iris(shut), asked), to_float(picture()))


def test_lids_stay_shut_until_an_open_eye_was_seen():
    asked = target(torch.stack((SHUT, OPENED, SHUT)), OPENED, SHUT)
    seen = Memory().learn(picture(3), asked)
    openings = face.eye_openings(seen.with_unseen_eyes_shut(asked).moved)
    assert openings[0].max() < 0.05
    assert openings[1:].min() > 0.2


def test_frames_whose_eyes_stay_shut_are_told():
    opened = landmarks(lids=1.0)
    asked = target(torch.stack([landmarks(lids=lids) for lids in (0.05, 0.05, 1.0, 0.05)]), opened, opened)
    seen = Memory().learn(picture(4), asked)
    assert seen.shut_frames(asked) == (0, 1)
    left = target(landmarks(lids=0.05)[None], landmarks(lids=0.05), opened)
    assert Memory().learn(picture(), left).shut_frames(left) == ()


def test_remembered_eyes_outside_the_frame_are_not_painted():
    away, memory = torch.tensor([-400.0, 0.0, 0.0]), Memory()
    memory.learn(picture(), target(OPENED[None], OPENED, OPENED))
    asked = target(SHUT[None] + away, OPENED + away, OPENED + away)
    assert torch.equal(eyes_painted(picture(), asked, memory), to_float(picture()))


@pytest.mark.parametrize("seen", [True, False], ids=["seen open", "never open"])
def test_a_shut_mouth_opens_with_the_inside_that_it_showed_before(seen):
    shut, opened = (landmarks(size=14, at=(180, 150), drop=drop) for drop in (0.0, 2.5))
    green = picture()
    x, top = opened[UPPER_LIP, :2].int().tolist()
    bottom = int(opened[LOWER_LIP, 1])
    green[0, top + 3 : bottom - 3, x - 10 : x + 11] = torch.tensor([0, 255, 0], dtype=torch.uint8)
    asked = target(torch.stack((opened if seen else shut, shut)), opened, shut)
    frames = torch.cat((green if seen else picture(), picture()))
    square, pictures = face_crop(asked.source, AnimationSettings()), to_float(frames)
    shift = make_warp(asked, Rings(asked, square, True).mesh(asked), 256).at_nodes()
    draw_mouths(
        pictures, frames, asked, Memory().learn(frames, asked), shift, square, WHOLE, torch.full((2,), 0.6)
    )
    inside = pictures[1, :, top + 4 : bottom - 4, x]
    assert (inside[1].mean() > 1.5 * inside[0].mean()) == seen
