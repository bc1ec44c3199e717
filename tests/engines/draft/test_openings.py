"""Eyes and mouths between their lids and lips."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from drawn_parts import SHARP, SIZE, WHOLE, column, drawn, target, with_teeth
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, landmarks, picture

from liveportrait_v2v.compose import to_float
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.colours import skin_around_eyes
from liveportrait_v2v.engines.draft.curves import Opening
from liveportrait_v2v.engines.draft.eyeballs import draw_eyes
from liveportrait_v2v.engines.draft.memory import Memory
from liveportrait_v2v.engines.draft.motion import Target
from liveportrait_v2v.engines.draft.mouth import draw_mouths
from liveportrait_v2v.engines.draft.parts import Parts
from liveportrait_v2v.engines.draft.warp import Rings, make_warp
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.settings import AnimationSettings

IRIS_EYE_WIDTHS = 0.2
SMALL = 2.0  # a mouth of ten pixels
LIPS_MIDDLES = [72, 11, 302, 85, 16, 315]


def opening_of(points: torch.Tensor, eye: int) -> Opening:
    """An eye's opening in a picture with a face's landmarks [478, 3]."""
    parts = Parts(points[None])
    return Opening.between(
        parts.lid_points[eye : eye + 1], parts.lids[:, eye : eye + 1], parts.eye(eye), WHOLE, 3, SHARP
    )


def with_eyes(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture with white eyeballs and round black irises between lids, and landmarks with the irises' rings."""
    frames, points = picture(), points.clone()
    for eye, (_, _, iris) in enumerate(face.EYES):
        opening = opening_of(points, eye)
        ball = ((opening.above + opening.below) < 0.5)[0]
        radius = IRIS_EYE_WIDTHS * opening.frame.axes[0, 0].norm()
        center = opening.frame.local(points[None, iris[:1], :2])[0, 0]
        disc = torch.hypot(opening.x - center[0], opening.y - center[1])[0] < IRIS_EYE_WIDTHS
        part = opening.rects[0].of(frames)[0]
        part[ball] = 240
        part[ball & disc] = 0
        offsets = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]]) * radius
        points[list(iris[1:]), :2] = points[iris[0], :2] + offsets
    return frames, points


def dark_columns(frame: torch.Tensor, points: torch.Tensor, eye: int, down: float = 0.0) -> int:
    """Pixels of an iris in a row `down` radii below its centre."""
    radius = IRIS_EYE_WIDTHS * Parts(points[None]).eye(eye).axes[0, 0].norm().item()
    x, y = points[face.EYES[eye][2][0], :2].tolist()
    row = frame[int(y + down * radius), int(x - 1.6 * radius) : int(x + 1.6 * radius)].mean(-1)
    return int((row < 100).sum())


@pytest.mark.parametrize("eye", [0, 1])
def test_lids_that_come_down_cover_an_iris_that_stays_round(eye):
    frames, opened = with_eyes(landmarks(size=SIZE, at=(180, 150)))
    narrow = landmarks(size=SIZE, at=(180, 150), lids=0.55)
    frame = drawn(draw_eyes, frames, target(opened, narrow))
    for down in (0.0, 0.5):
        assert (
            abs(dark_columns(frame, opened, eye, down) - dark_columns(frames[0].float(), opened, eye, down))
            <= 2
        )
    x, y = (narrow[face.EYES[eye][0][4], :2]).int().tolist()
    assert frame[y - 2, x].mean() > 100  # skin, where the iris was


@pytest.mark.parametrize("eye", [0, 1])
def test_an_iris_that_looks_aside_keeps_its_size_and_leaves_white_behind(eye):
    frames, ahead = with_eyes(landmarks(size=SIZE, at=(180, 150)))
    _, aside = with_eyes(landmarks(size=SIZE, at=(180, 150), gaze=0.2))
    frame = drawn(draw_eyes, frames, target(ahead, aside))
    assert abs(dark_columns(frame, aside, eye) - dark_columns(frames[0].float(), ahead, eye)) <= 2
    x, y = (aside[face.EYES[eye][2][0], :2] * 2 - ahead[face.EYES[eye][2][0], :2]).int().tolist()
    left = int(2 * ahead[face.EYES[eye][2][0], 0] - x) + 4
    assert frame[y, left].min() > 200


@pytest.mark.parametrize("eye", [0, 1])
def test_an_iris_that_leaves_a_side_that_shows_skin_leaves_white_behind(eye):
    ahead, aside = (landmarks(size=SIZE, at=(180, 150), gaze=gaze) for gaze in (0.0, 0.2))
    frames, ahead = with_eyes(ahead)
    ball, skin = opening_of(ahead, eye), skin_around_eyes(frames, ahead[None])[eye, 0]
    skin_beside = ((ball.x.abs() > 1.1 * IRIS_EYE_WIDTHS) & (ball.x.abs() < 0.5))[0]
    ball.rects[0].of(frames)[0][skin_beside] = (skin / 2).byte()
    frame = drawn(draw_eyes, frames, target(ahead, with_eyes(aside)[1]))
    x, y = ahead[face.EYES[eye][2][0], :2].int().tolist()
    behind = frame[y, x - 5]
    assert behind.mean() > 0.9 * skin.mean()
    assert behind[0] / behind[2] < 0.9 * skin[0] / skin[2]


@pytest.mark.parametrize("eye", [0, 1])
def test_small_eyes_that_are_torn_open_carry_no_shade_of_their_lids(eye):
    usual, wide = (landmarks(size=6.0, at=(180, 150), lids=lids) for lids in (1.0, 1.6))
    frames, usual = with_eyes(usual)
    lids = opening_of(usual, eye)
    shade = (lids.y - lids.upper).abs() < lids.frame.pixel
    lids.rects[0].of(frames)[0][shade[0]] = 30
    frames = F.avg_pool2d(to_float(frames), 3, 1, 1).permute(0, 2, 3, 1).to(torch.uint8)
    frame = drawn(draw_eyes, frames, target(usual, wide))
    ball = opening_of(wide, eye)
    down = (ball.y - ball.upper) / (ball.lower - ball.upper).clamp_min(1e-3)
    beside = (ball.x.abs() > IRIS_EYE_WIDTHS) & (ball.x.abs() < 1.5 * IRIS_EYE_WIDTHS)
    middle = ((down > 0.3) & (down < 0.6) & beside)[0]
    assert ball.rects[0].of(frame[None])[0][middle].mean() > 110


def test_openings_that_do_not_move_keep_their_pixels():
    opened = landmarks(size=SIZE, at=(180, 150), drop=1.5)
    frames = torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    for draw in (draw_eyes, draw_mouths):
        frame = drawn(draw, frames, target(opened, opened))
        assert (frame - frames[0].float()).abs().max() <= 1


def test_a_mouth_that_was_never_open_gets_teeth_shade_and_a_tongue():
    shut, opened = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (0.0, 2.5))
    frame = drawn(draw_mouths, picture(), target(shut, opened))
    inside = column(frame, opened, x=5)
    count, skin = len(inside), picture()[0, 150, 180].float().mean()
    teeth, shade = inside[: count // 3].max(), inside[count // 3 : 2 * count // 3].min()
    assert teeth > 0.75 * skin
    assert shade < 0.5 * skin
    assert inside[2 * count // 3 :].max() > 1.3 * shade


@pytest.mark.parametrize("drop", [1.2, 2.2])
def test_a_mouth_of_fifteen_pixels_gets_a_light_band_above_a_dark_one(drop):
    shut, opened = (landmarks(size=3.0, at=(180, 150), drop=drop) for drop in (0.0, drop))
    frame = drawn(draw_mouths, picture(), target(shut, opened)).mean(-1)
    x, top = opened[UPPER_LIP, :2].int().tolist()
    inside = frame[top : int(opened[LOWER_LIP, 1]) + 1, x]
    count, skin = len(inside), picture()[0, 150, 180].float().mean()
    assert inside[: count // 2].max() > 0.7 * skin
    assert inside[count // 2 :].min() < inside[: count // 2].max() - 0.25 * skin


def test_a_mouth_that_was_never_open_gets_lower_teeth_in_the_shade_and_a_tongue_behind_them():
    shut, opened = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (0.0, 2.5))
    inside = column(drawn(draw_mouths, picture(), target(shut, opened)), opened, x=4)
    count, skin = len(inside), picture()[0, 150, 180].float().mean()
    tongue, teeth = inside[count // 2 : 3 * count // 4].max(), inside[3 * count // 4 : -3].max()
    upper = inside[: count // 3].max()
    assert 0.2 * skin < tongue < 0.7 * teeth
    assert 0.4 * skin < teeth < 0.85 * upper


def test_a_mouth_that_was_wide_open_in_the_source_gets_no_other_lower_teeth():
    opened, wider = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (2.5, 3.2))
    frames = with_teeth(opened)
    frames[frames == 240] = 20
    inside = column(drawn(draw_mouths, frames, target(opened, wider)), wider, x=4)
    assert inside[3:-5].max() < 0.6 * picture()[0, 150, 180].float().mean()  # a tongue


def test_the_sides_of_round_mouths_are_soft_and_no_lighter_than_lip_and_inside():
    shut, opened = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (0.0, 4.0))
    frames = picture()
    for x, y in shut[LIPS_MIDDLES, :2].int().tolist():
        frames[0, y - 2 : y + 3, x - 2 : x + 3] = 255  # the lips shine in their middle
    frame = drawn(draw_mouths, frames, target(shut, opened)).mean(-1)
    row = int((opened[UPPER_LIP, 1] + 3 * opened[LOWER_LIP, 1]) / 4)
    x = int(opened[UPPER_LIP, 0])
    for line in (frame[row, x - 60 : x], frame[row, x : x + 60].flip(0)):
        lip, inside = line[0], line[-1]
        assert line.max() < lip + 10
        steps = line.diff().abs()
        assert steps.max() < 0.75 * (lip - inside)


def test_lips_that_touch_show_no_teeth_and_no_black_dashes():
    shut, parted = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (0.0, 0.08))
    frame, before = drawn(draw_mouths, picture(), target(shut, parted)), picture()[0].float()
    x, y = parted[UPPER_LIP, :2].int().tolist()
    change = (frame - before)[y - 4 : y + 5, x - 25 : x + 26].mean(-1)
    assert change.max() < 15
    assert frame[y - 4 : y + 5, x - 25 : x + 26].min() > 40


def test_teeth_of_a_smile_stay_above_a_dark_inside_when_the_mouth_opens():
    smiling, opened = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (1.2, 3.0))
    frame = drawn(draw_mouths, with_teeth(smiling), target(smiling, opened))
    for x in (-12, 0, 12):
        inside = column(frame, opened, x)[2:-2]
        light = inside > 160
        assert light[: len(inside) // 4].any()
        assert not light[len(inside) // 2 :].any()
        # One row of teeth, and nothing light below.
        assert (light.int().diff() == 1).sum() <= 1


def test_lips_of_a_smile_that_nearly_shut_show_their_own_shade():
    smiling, nearly = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (1.2, 0.15))
    inside = column(drawn(draw_mouths, with_teeth(smiling), target(smiling, nearly)), nearly)
    assert inside.max() < 1.1 * picture()[0, 150, 180].float().mean()
    assert inside.min() > 40


def test_a_mouth_that_opens_in_the_source_for_the_first_time_is_drawn_with_the_frames_before():
    shut, opened = (landmarks(size=SIZE, at=(180, 150), drop=drop) for drop in (0.0, 2.2))
    frames = torch.cat((picture(), with_teeth(opened)))
    asked = Target.cat((target(shut, opened), target(opened, opened)))
    square = face_crop(asked.source, AnimationSettings())
    pictures = to_float(frames)
    draw_mouths(
        pictures,
        frames,
        asked,
        Memory().learn(frames, asked),
        make_warp(asked, Rings(asked, square, True).mesh(asked), 256).at_nodes(),
        square,
        WHOLE,
        SHARP.expand(2),
    )
    before, now = (column(part.permute(1, 2, 0), opened)[3:-3] for part in pictures)
    assert before.min() < 100
    assert now.min() > 200


def test_margins_of_lips_are_smooth():
    shut, opened = (landmarks(size=SIZE, at=(180, 150), roll=9, drop=drop) for drop in (0.0, 2.5))
    frame = drawn(draw_mouths, picture(), target(shut, opened)).mean(-1)
    # Where the lower lip begins, pixel column by pixel column.
    x, y = opened[LOWER_LIP, :2].int().tolist()
    part = frame[y - 12 : y + 8, x - 12 : x + 13]
    skin = part[-1].mean()
    begins = (part / skin).clamp(0, 1).sum(0)
    assert begins.diff(n=2).abs().mean() < 0.2


@pytest.mark.parametrize(("size", "darker"), [(SMALL, True), (14.0, False)], ids=["small", "large"])
def test_in_small_open_mouths_the_teeth_end_above_a_dark_gap(size, darker):
    opened, less = (landmarks(size=size, at=(180, 150), drop=drop) for drop in (2.2, 2.0))
    change = column(drawn(draw_mouths, picture(), target(opened, less)), less)
    change = change - column(picture()[0].float(), less)
    assert (change[round(0.75 * len(change))] < -20) == darker
    assert abs(change[round(0.2 * len(change))]) < 12
