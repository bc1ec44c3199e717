"""Heads beside the one that is drawn stay as they were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from made_faces import landmarks

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.base import RenderedFrames
from liveportrait_v2v.faces import FaceSquare, circles
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate
from liveportrait_v2v.run.neighbours import HEAD_RADII, without_others
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

HEIGHT, WIDTH = 200, 400
LEFT, RIGHT = (120, 100), (280, 100)


def face(others: list[tuple[float, float]], at: tuple[float, float] = LEFT) -> TrackedChunk:
    """Return one frame with a face and others beside it."""
    marks, there = landmarks(at=at, size=6.0).unsqueeze(0), torch.ones(1, dtype=torch.bool)
    beside = [circles(landmarks(at=place, size=6.0), torch.tensor(True)) for place in others]
    frames = torch.zeros(1, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    chunk = TrackedChunk(frames, marks, there)
    return replace(chunk, others=torch.stack(beside).unsqueeze(0)) if beside else chunk


def drawn(at: tuple[float, float] = LEFT, side: float = 400.0, masks: bool = True) -> RenderedFrames:
    """Return a white frame, pasted as a square of this side around a place."""
    square = FaceSquare(torch.tensor([at], dtype=torch.float32), torch.eye(2)[None], torch.tensor([side]))
    mask = torch.ones(1, HEIGHT, WIDTH) if masks else None
    return RenderedFrames(torch.full((1, HEIGHT, WIDTH, 3), 255, dtype=torch.uint8), mask, (square,))


def radius() -> float:
    return circles(landmarks(at=LEFT, size=6.0), torch.tensor(True))[2].item()


def test_a_circle_is_the_middle_and_half_the_longer_side_of_a_faces_box():
    marks = torch.tensor([[[10.0, 20.0, 0.0], [50.0, 40.0, 0.0]]])
    assert circles(marks, torch.tensor([True])).tolist() == [[30.0, 30.0, 20.0]]
    assert circles(marks, torch.tensor([False])).tolist() == [[30.0, 30.0, 0.0]]


def test_a_face_alone_and_one_with_others_out_of_reach_stay_as_they_were_drawn():
    whole = drawn(side=100.0)
    chunk = face([])
    assert without_others(chunk.frames, whole, chunk) is whole
    chunk = face([RIGHT])
    assert without_others(chunk.frames, whole, chunk) is whole


def test_another_head_stays_as_it_was_and_the_face_as_it_was_drawn():
    chunk = face([RIGHT])
    bounded = without_others(chunk.frames, drawn(), chunk)
    picture = bounded.frames[0, :, :, 0]
    assert picture[RIGHT[1], RIGHT[0]] == 0
    assert picture[LEFT[1], LEFT[0]] == 255
    row = picture[LEFT[1], LEFT[0] : RIGHT[0]].int()
    middle = (len(row) - 1) / 2
    assert (row.diff() <= 0).all(), "no gradual step"
    assert ((row > 127).sum() - middle).abs() < 0.1 * radius()


def test_what_lies_beyond_both_heads_is_drawn():
    chunk = face([RIGHT])
    bounded = without_others(chunk.frames, drawn(side=800.0), chunk)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    far = (y - RIGHT[1]) ** 2 + (x - RIGHT[0]) ** 2 > (radius() * (HEAD_RADII + 0.3)) ** 2
    assert (bounded.frames[0][far] == 255).all()


def test_the_mask_follows():
    chunk = face([RIGHT])
    bounded = without_others(chunk.frames, drawn(), chunk)
    torch.testing.assert_close(bounded.mask[0], bounded.frames[0, :, :, 0] / 255, atol=0.003, rtol=0)
    assert without_others(chunk.frames, drawn(masks=False), chunk).mask is None


def test_a_face_that_is_not_there_keeps_nothing():
    chunk = face([RIGHT])
    chunk.others[..., 2].zero_()
    whole = drawn()
    assert without_others(chunk.frames, whole, chunk) is whole


def test_frames_are_settled_before_they_are_bounded():
    chunk, right = face([RIGHT]), drawn()
    late = replace(right, frames=torch.zeros_like(right.frames), check=lambda: right)
    bounded = without_others(chunk.frames, late, chunk)
    assert torch.equal(bounded.frames, without_others(chunk.frames, right, chunk).frames)


@pytest.fixture(scope="module")
def cheek_by_cheek(clips) -> Clip:
    """Two real heads that touch, each wider than half of its 240 columns."""

    def head(name: str, box: tuple[int, int, int, int]) -> torch.Tensor:
        left, top, right, bottom = box
        frames = next(Clip(clips[name]).chunks(6)).frames[:, top:bottom, left:right]
        return F.interpolate(frames.permute(0, 3, 1, 2).float(), (240, 240)).byte().permute(0, 2, 3, 1)

    pair = torch.cat(
        (head("jwp_intro", (180, 100, 380, 300)), head("single_face", (220, 60, 420, 260))), dim=2
    )
    return Clip(Frames(pair, Fraction(25)))


def result(source: Clip, roles: list[Role]) -> torch.Tensor:
    got: list[RenderedFrames] = []
    animate(source, roles=roles, engine=create_engine("draft"), sink=got.append)
    return torch.cat([rendered.frames for rendered in got]).int()


@pytest.mark.slow
def test_heads_that_touch_are_each_animated_as_if_the_other_stood_still(cheek_by_cheek, clips):
    order = MotionOptions(face_order="left-right")
    left, right = (
        Role(Clip(clips[name], start=2), AnimationSettings(), order, source_face=number)
        for number, name in enumerate(("test_movie", "carphone"))
    )
    both, alone, other = (result(cheek_by_cheek, roles) for roles in ([left, right], [left], [right]))
    source = torch.cat([chunk.frames for chunk in cheek_by_cheek.chunks()]).int()[: len(both)]
    # All frames, and rows and columns inside a face.
    inner_left = slice(None), slice(40, 200), slice(30, 170)
    inner_right = slice(None), slice(40, 220), slice(280, 400)
    assert torch.equal(both[inner_left], alone[inner_left])
    assert (both - other)[inner_right].abs().float().mean() < 1
    assert torch.equal(other[inner_left], source[inner_left])
    assert torch.equal(alone[inner_right], source[inner_right])
    assert (alone - source)[inner_left].abs().float().mean() > 2
    assert (other - source)[inner_right].abs().float().mean() > 2
