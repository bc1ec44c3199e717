"""Bars of one colour at the borders of frames stay where they are."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from drawn_parts import target
from made_faces import HEIGHT, WIDTH, landmarks, picture

from liveportrait_v2v.compose import PixelRect
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import engine
from liveportrait_v2v.engines.draft.bars import BARS, bar_width, pins
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

WHOLE = PixelRect(0, 0, HEIGHT, WIDTH)
FACE = landmarks(size=12.0, at=(180, 150))
SIDES = ("left", "right", "top", "bottom")


def with_bar(frames: torch.Tensor, side: str, width: int, colour: int = 0) -> torch.Tensor:
    """The same frames with a bar."""
    frames = frames.clone()
    lines = frames if side in ("top", "bottom") else frames.transpose(1, 2)
    part = slice(-width, None) if side in ("right", "bottom") else slice(width)
    lines[:, part] = colour
    return frames


def width_at(frames: torch.Tensor, side: str) -> list[int]:
    lines = frames if side in ("top", "bottom") else frames.transpose(1, 2)
    return bar_width(lines, last=side in ("right", "bottom")).tolist()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("colour", [0, 255])
def test_a_bar_is_as_wide_as_it_is(side, colour):
    frames = torch.cat((picture(), with_bar(picture(), side, 40, colour)))
    assert width_at(frames, side) == [0, 40]
    others = [width_at(frames, other) for other in SIDES if other != side]
    assert others == [[0, 0]] * 3


def test_a_bar_that_compression_has_made_uneven_is_one():
    frames = with_bar(picture(), "left", 40, 16).int()
    frames[:, :, :40] += torch.randint(-5, 6, (1, HEIGHT, 40, 3), generator=torch.Generator().manual_seed(0))
    frames[:, :, 39:41] = 60
    (width,) = width_at(frames.to(torch.uint8), "left")
    assert 37 <= width <= 40


def test_a_plain_background_is_no_bar():
    frames = torch.full((1, HEIGHT, WIDTH, 3), 230, dtype=torch.uint8)
    frames[:, 60:140, 100:260] = 60  # a head
    assert [width_at(frames, side) for side in SIDES] == [[0]] * 4


def test_a_frame_of_one_colour_has_no_bar():
    black = torch.zeros(1, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    assert [width_at(black, side) for side in SIDES] == [[0]] * 4


def test_frames_without_bars_need_no_pins():
    asked = target(FACE, FACE)
    assert pins(picture(), asked, face_crop(asked.source, AnimationSettings()), WHOLE) is None


def test_motion_towards_a_bar_fades_before_it_and_not_in_the_face():
    asked = target(FACE, FACE)
    frames = with_bar(with_bar(picture(), "left", 40), "bottom", 30)
    across, down = pins(frames, asked, face_crop(asked.source, AnimationSettings()), WHOLE)[0]
    assert across[:, :40].eq(0).all()
    assert down[-30:].eq(0).all()
    assert (across[:, 40] > 0).all()
    assert (across.diff(dim=1) >= 0).all()
    assert (down.diff(dim=0) <= 0).all()
    low, high = FACE[:, :2].amin(0).int().tolist(), FACE[:, :2].amax(0).int().tolist()
    assert across[:, low[0] + 1 :].eq(1).all()
    assert down[: high[1]].eq(1).all()


def test_a_face_beside_a_bar_is_cut_by_it_instead_of_squeezed():
    asked = target(FACE, FACE)
    beside = int(FACE[:, 0].min()) - 1
    across, _ = pins(
        with_bar(picture(), "left", beside), asked, face_crop(asked.source, AnimationSettings()), WHOLE
    )[0]
    assert across[0, beside + int(BARS.reach[1]) + 1] == 1


def turned(frames: torch.Tensor) -> torch.Tensor:
    """A frame whose face turns and moves to the left."""
    session = create_engine("draft").session(
        AnimationSettings(), MotionOptions(smoothing=0.0), None, Fraction(25)
    )
    present = torch.tensor([True])
    leads = [FACE, landmarks(size=12.0, at=(160, 150), yaw=-25)]
    motions = list(
        session.motions(TrackedChunk(picture(), lead[None], present, k) for k, lead in enumerate(leads))
    )
    moments = [DrivingMotion(motion, None, 0.0) for motion in motions]
    chunk = TrackedChunk(frames, FACE[None], present)
    return [splice(session.render, chunk, [moment]).frames for moment in moments][-1]


def test_a_bar_beside_a_turning_head_stays_straight(monkeypatch):
    bar = int(FACE[:, 0].min()) - 22
    frames = with_bar(picture(), "left", bar)
    result = turned(frames)
    assert torch.equal(result[:, :, :bar], frames[:, :, :bar])
    assert not torch.equal(result, frames)
    assert result[:, :, bar + 1].amax(-1).min() > 60
    monkeypatch.setattr(engine, "pins", lambda *_: None)
    assert not torch.equal(turned(frames)[:, :, :bar], frames[:, :, :bar])
