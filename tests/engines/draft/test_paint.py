"""Painted lids and lips."""

from __future__ import annotations

import pytest
import torch
from drawn_parts import SHARP
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, landmarks, picture

from liveportrait_v2v.compose import PixelRect, to_float
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.motion import RestingFace, Target, transfer
from liveportrait_v2v.engines.draft.paint import paint_corners, paint_lids, paint_lips
from liveportrait_v2v.faces import topology
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

WHOLE = PixelRect(0, 0, HEIGHT, WIDTH)
WHITE = torch.tensor([250, 250, 250], dtype=torch.uint8)
SMALL = 2.0  # pixels a centimetre: a mouth of ten pixels


def target(source: torch.Tensor, moved: torch.Tensor, rest: torch.Tensor | None = None) -> Target:
    """Target that moves a source face's landmarks to others."""
    rests = [RestingFace.of(points) for points in (source if rest is None else rest, moved)]
    asked = transfer(source[None], moved[None], *rests, AnimationSettings(), MotionOptions(), True, False)
    return Target(**{**vars(asked), "moved": moved[None]})


def painted(paint, target: Target, warped: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture [H, W, 3] before and after painting."""
    warped = picture() if warped is None else warped
    pictures = to_float(warped)
    paint(pictures, picture(), target, WHOLE, SHARP)
    return warped[0].float(), pictures[0].permute(1, 2, 0)


def middle(points: torch.Tensor, indices) -> list[int]:
    """x and y of some landmarks' middle."""
    return points[list(indices), :2].mean(0).int().tolist()


def lids_row(points: torch.Tensor, eye: int) -> tuple[int, int]:
    """x and y of the middle of the upper lid's margin."""
    x, y = points[face.EYES[eye][0][4], :2].tolist()
    return round(x), round(y)


@pytest.mark.parametrize("eye", [0, 1])
def test_a_lid_that_comes_down_has_the_skins_colour_and_a_dark_line_of_lashes(eye):
    opened, shut = landmarks(size=9), landmarks(size=9, lids=0.0)
    frames = picture()
    x, y = middle(opened, face.EYES[eye][2])
    frames[0, y - 3 : y + 3, x - 3 : x + 3] = torch.tensor([0, 0, 255], dtype=torch.uint8)  # a blue iris
    frames[0, y - 7 : y - 4, x - 9 : x + 9] = 20  # lashes of the open eye
    before, after = painted(paint_lids, target(opened, shut), frames)
    skin = picture()[0, y, x].float()
    across, seam = lids_row(shut, eye)
    assert after[seam, across].mean() < 0.65 * skin.mean()
    lid = after[seam - 5, across]
    assert (lid - skin).abs().max() < 40
    assert (before[y - 5, x] - skin).abs().max() > 100


@pytest.mark.parametrize("eye", [0, 1])
def test_lashes_that_stood_above_an_open_eye_are_gone_when_it_is_shut_and_broad_shadows_stay(eye):
    opened, shut = landmarks(size=9), landmarks(size=9, lids=0.0)
    across, lid = lids_row(opened, eye)
    lashes, shadow = picture(), picture()
    lashes[0, lid - 7 : lid - 3, across - 6 : across + 7 : 4] = 20
    shadow[0, lid - 7 : lid - 3, across - 12 : across + 13] = 20
    asked, skin = target(opened, shut), picture()[0, lid - 5, across].float()
    _, without = painted(paint_lids, asked, lashes)
    _, shaded = painted(paint_lids, asked, shadow)
    above = slice(lid - 7, lid - 3), slice(across - 6, across + 7)
    assert (without[above] - skin).abs().max() < 12
    assert shaded[lid - 6, across].max() < 40


@pytest.mark.parametrize("eye", [0, 1])
def test_no_steps_stay_where_lashes_stood_before_skin_that_gets_lighter_along_the_lid(eye):
    opened, shut = landmarks(size=30), landmarks(size=30, lids=0.0)
    across, lid = lids_row(opened, eye)
    columns = torch.arange(-24, 24)
    before = picture()
    before[0, :, across + columns] = (120 + 2 * columns).to(torch.uint8).view(1, -1, 1)
    before[0, lid - 14 : lid - 8, across - 24 : across + 24 : 6] = 20
    _, after = painted(paint_lids, target(opened, shut), before)
    row = after[lid - 11, across - 15 : across + 15].mean(-1)
    assert row.diff(n=2).abs().max() < 4


@pytest.mark.parametrize("size", [9, 30])
@pytest.mark.parametrize("eye", [0, 1])
@pytest.mark.parametrize(("first", "last"), [(-3, -1), (1, 2)], ids=["above", "below"])
def test_lashes_beside_the_outer_corner_fade_as_the_eye_shuts_and_stay_while_it_is_a_slit(
    eye, size, first, last
):
    opened = landmarks(size=size)
    corner = opened[face.EYES[eye][0][0], :2]
    across, down = corner.int().tolist()
    half = size // 4
    beside = slice(across + 1, across + 2 * half) if eye else slice(across - 2 * half, across)
    block = slice(down + first * half, down + last * half), beside
    clump = picture()
    clump[0][block] = 20
    skin = picture()[0][block].float()
    _, shut = painted(paint_lids, target(opened, landmarks(size=size, lids=0.0)), clump)
    before, slit = painted(paint_lids, target(opened, landmarks(size=size, lids=0.35)), clump)
    assert (shut[block].mean(-1) > 0.55 * skin.mean(-1)).all()
    assert (shut[block].mean(-1) < 0.85 * skin.mean(-1)).all()
    assert (slit[block] - before[block]).abs().max() < 12


@pytest.mark.parametrize("away", [(-400.0, 0.0), (400.0, 0.0), (0.0, -400.0), (0.0, 400.0)])
@pytest.mark.parametrize(("paint", "size"), [(paint_lids, 9), (paint_lids, SMALL), (paint_lips, SMALL)])
def test_parts_outside_the_frame_are_not_painted(paint, size, away):
    offset = torch.tensor([*away, 0.0])
    opened, shut = landmarks(size=size, drop=2.0) + offset, landmarks(size=size, lids=0.0) + offset
    before, after = painted(paint, target(opened, shut))
    assert torch.equal(before, after)


def test_eyes_that_stay_open_or_were_shut_before_are_left_alone():
    opened, shut = landmarks(size=9), landmarks(size=9, lids=0.0)
    for source, moved in (
        (opened, opened),
        (opened, landmarks(size=9, lids=0.8)),
        (shut, shut),
        (shut, opened),
    ):
        before, after = painted(paint_lids, target(source, moved, opened))
        assert torch.equal(before, after)


def test_a_lid_a_third_of_the_way_down_is_painted_less_than_one_that_is_shut():
    opened = landmarks(size=9)
    changes = []
    for lids in (0.68, 0.2):
        before, after = painted(paint_lids, target(opened, landmarks(size=9, lids=lids)))
        changes.append((after - before).abs().mean().item())
    assert 0 < changes[0] < 0.7 * changes[1]


def test_an_eye_that_the_turned_head_hides_is_not_painted():
    shut = landmarks(size=9, lids=0.0, yaw=75)
    before, after = painted(paint_lids, target(landmarks(size=9, yaw=75), shut))
    view = face.eyes_in_view(face.eye_frames(shut[None, :, :2]))[0]
    hidden, seen = view.argmin().item(), view.argmax().item()
    assert view[hidden] == 0
    assert view[seen] == 1
    changed = (after - before).abs().amax(-1)
    x, y = middle(shut, face.EYES[seen][0])
    assert changed[y - 4 : y + 4, x - 4 : x + 4].max() > 20
    columns = changed.amax(0).nonzero().flatten()
    assert (columns - x).abs().max() < 40


def test_a_small_mouth_that_shuts_keeps_nothing_of_its_teeth():
    opened, shut = landmarks(size=SMALL, drop=2.0), landmarks(size=SMALL)
    frames = picture()
    x, y = middle(shut, (UPPER_LIP, LOWER_LIP))
    frames[0, y : y + 2, x - 2 : x + 3] = WHITE  # teeth that the warp has left between the lips
    before, after = painted(paint_lips, target(opened, shut), frames)
    assert before[y, x].min() == 250
    assert after[y : y + 2, x].max() < 200
    assert after[y, x].mean() < 0.9 * picture()[0, y, x].float().mean()


@pytest.mark.parametrize(
    ("source", "moved"),
    [
        (landmarks(size=14, drop=2.0), landmarks(size=14)),
        (landmarks(size=SMALL, drop=2.0), landmarks(size=SMALL, drop=2.0)),
        (landmarks(size=SMALL), landmarks(size=SMALL)),
        (landmarks(size=SMALL, drop=4.0), landmarks(size=SMALL, drop=1.0)),
    ],
    ids=["large", "stays open", "was shut", "stays open, if less wide"],
)
def test_other_mouths_keep_their_lips(source, moved):
    before, after = painted(paint_lips, target(source, moved))
    assert torch.equal(before, after)


def with_corners(asked: Target, warped: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """As `painted`, of a mouth's corners."""
    return painted(lambda pictures, _, *more: paint_corners(pictures, *more[:2]), asked, warped)


def with_lashes(opened: torch.Tensor, eye: int, share: float) -> torch.Tensor:
    """A picture [1, H, W, 3] of an eye whose upper lid has a margin of so much of the skin's light."""
    frames = picture()
    for x, y in opened[list(face.EYES[eye][0]), :2].round().int().tolist():
        around = 0, slice(y - 2, y + 2), slice(x - 3, x + 4)
        frames[around] = (share * picture()[around].float()).byte()
    return frames


@pytest.mark.parametrize("eye", [0, 1])
def test_the_line_of_a_shut_lid_is_as_dark_as_the_open_eyes_lashes(eye):
    opened, shut = landmarks(size=14.0), landmarks(size=14.0, lids=0.0)
    lines = []
    for share in (0.1, 0.5, 0.9):
        frames = with_lashes(opened, eye, share)
        pictures = to_float(picture())
        paint_lids(pictures, frames, target(opened, shut), WHOLE, SHARP)
        x, seam = lids_row(shut, eye)
        column = pictures[0, :, seam - 5 : seam + 6, x].mean(0) / picture()[0, seam, x].float().mean()
        lines.append((column.min().item(), (column < 0.8).sum().item()))
    (dark, wide), (usual, narrow), faint = lines
    assert dark < 0.32
    assert wide > narrow
    assert usual == pytest.approx(0.5, abs=0.06)
    assert faint == (pytest.approx(0.58, abs=0.05), narrow)  # lighter ones are no darker than real lids'


def narrower(points: torch.Tensor, share: float) -> torch.Tensor:
    """Landmarks whose lips are narrower by a share."""
    lips = [
        *topology.LIP_INNER_UPPER,
        *topology.LIP_INNER_LOWER,
        *topology.LIP_OUTER_UPPER,
        *topology.LIP_OUTER_LOWER,
    ]
    points = points.clone()
    points[lips, 0] += share * (points[UPPER_LIP, 0] - points[lips, 0])
    return points


def corners_of(points: torch.Tensor) -> list[list[int]]:
    """x and y of the corners of a mouth."""
    return points[[face.UPPER[0], face.UPPER[-1]], :2].round().int().tolist()


def test_the_dark_corners_of_a_grin_turn_to_skin_as_the_mouth_gets_narrower():
    grin = landmarks(size=14.0, at=(180, 150), drop=0.8)
    small = narrower(grin, 0.25)
    warped = picture()
    for x, y in corners_of(small):
        warped[0, y - 3 : y + 4, x - 3 : x + 4] = 20
    before, after = with_corners(target(grin, small), warped)
    for x, y in corners_of(small):
        assert before[y, x].mean() < 0.15 * picture()[0, y, x].float().mean()
        assert after[y, x].mean() > 0.6 * picture()[0, y, x].float().mean()
    # The mouth's own inside is no corner.
    x, y = small[[UPPER_LIP, LOWER_LIP], :2].mean(0).int().tolist()
    assert torch.equal(before[y, x - 10 : x + 10], after[y, x - 10 : x + 10])


@pytest.mark.parametrize("share", [0.0, -0.2])
def test_the_corners_of_a_mouth_that_gets_no_narrower_stay(share):
    grin = landmarks(size=14.0, at=(180, 150), drop=0.8)
    warped = torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    before, after = with_corners(target(grin, narrower(grin, share)), warped)
    assert torch.equal(before, after)


def test_a_narrower_mouth_outside_the_frame_is_no_fault():
    grin = landmarks(size=14.0, at=(-400, 150), drop=0.8)
    before, after = with_corners(target(grin, narrower(grin, 0.25)))
    assert torch.equal(before, after)
