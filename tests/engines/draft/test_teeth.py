"""Teeth: what the driving mouth shows of them, and what the result does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from drawn_parts import SIZE, column, drawn, target, with_teeth
from made_faces import LOWER_LIP, UPPER_LIP, landmarks, picture

from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.colours import skin_color
from liveportrait_v2v.engines.draft.mouth import draw_mouths
from liveportrait_v2v.engines.draft.teeth import TEETH, averaged, teeth_shown, with_shown_teeth
from liveportrait_v2v.tracking import TrackedChunk

OPENED = landmarks(size=SIZE, at=(180, 150), drop=2.0)
TOP, BOTTOM = int(OPENED[UPPER_LIP, 1]), int(OPENED[LOWER_LIP, 1])
WHITE, DARK, LIPS = (240, 235, 225), (40, 15, 15), (170, 70, 75)


def mouth(*colours: tuple[int, int, int]) -> torch.Tensor:
    """A picture [1, H, W, 3] of an open mouth that has these colours from lip to lip, in bands of one height."""
    frames = picture()
    edges = torch.linspace(TOP, BOTTOM + 1, len(colours) + 1).int().tolist()
    for top, bottom, colour in zip(edges[:-1], edges[1:], colours, strict=True):
        frames[0, top:bottom, 130:230] = torch.tensor(colour, dtype=torch.uint8)
    return frames


def shown(frames: torch.Tensor, of: torch.Tensor = OPENED, usual: float = 0.0) -> torch.Tensor:
    """The share of teeth in pictures [N, H, W, 3] of a face with these landmarks [478, 3]."""
    faces = of.expand(len(frames), -1, -1)
    return teeth_shown(frames, faces, skin_color(frames, faces), usual)


@pytest.mark.parametrize(
    ("colours", "share"),
    [
        ((WHITE,), 1.0),
        ((WHITE, DARK), 0.5),
        ((WHITE, DARK, DARK), 1 / 3),
        ((WHITE, WHITE, DARK), 2 / 3),
        # Teeth in the shade, told by the dark below them; behind a tongue, none.
        (((110, 90, 80), DARK, DARK), 1 / 3),
        ((DARK, LIPS), 0.0),
        ((DARK,), 0.0),
        # The upper lip's shade lies on them.
        (((110, 90, 80), WHITE, DARK), 2 / 3),
        # A lower lip that shines is none.
        ((WHITE, DARK, DARK, WHITE), 1 / 4),
    ],
)
def test_the_teeth_of_a_mouth_end_where_it_gets_dark(colours, share):
    assert shown(mouth(*colours)).item() == pytest.approx(share, abs=0.12)  # a ninth


def test_a_mouth_that_is_neither_light_nor_dark_counts_as_usual():
    assert shown(mouth(LIPS)).item() == 0
    assert shown(mouth(LIPS), usual=0.4).item() == pytest.approx(0.4)


def test_a_mouth_outside_the_frame_is_no_fault():
    assert 0 <= shown(picture(), OPENED - 1000.0).item() <= 1


def test_the_share_goes_along_with_the_landmarks():
    chunk = with_shown_teeth(TrackedChunk(mouth(WHITE, DARK), OPENED[None], torch.tensor([True])))
    turned = chunk.landmarks * 0.7 + 20
    assert face.teeth_share(turned).item() == pytest.approx(0.5, abs=0.06)
    assert with_shown_teeth(chunk) is chunk


def test_landmarks_of_the_mesh_alone_tell_of_no_teeth():
    assert face.teeth_share(OPENED[None]).item() == face.UNTOLD


def led(share: float, frames: torch.Tensor | None = None, source: torch.Tensor | None = None) -> torch.Tensor:
    """Lightness from lip to lip of a mouth that opens, led by one with such a share of teeth."""
    shut = landmarks(size=SIZE, at=(180, 150)) if source is None else source
    asked = replace(target(shut, OPENED), teeth=torch.tensor([share]))
    return column(drawn(draw_mouths, picture() if frames is None else frames, asked), OPENED, x=5)


SKIN = picture()[0, 150, 180].float().mean()


@pytest.mark.parametrize("share", [0.2, 0.35, 0.45])
def test_made_teeth_go_as_far_down_as_the_driving_ones(share):
    light = led(share)[2:-4] > 0.75 * SKIN  # the tongue is darker
    assert light.float().mean().item() == pytest.approx(share, abs=0.1)
    assert light[: int(0.8 * share * len(light))].all()


def test_lower_teeth_fill_what_the_upper_ones_are_too_short_for():
    assert (led(0.9)[2:-6] > 0.5 * SKIN).float().mean() > 0.75
    assert (led(0.45)[2:-6] > 0.5 * SKIN).float().mean() < 0.7


def test_a_driving_mouth_without_teeth_gives_a_dark_one():
    assert led(0.0)[2:-6].max() < 0.5 * SKIN


def test_a_small_mouth_led_by_one_full_of_teeth_is_hardly_dark_below_them():
    shut, opened = (landmarks(size=4.0, at=(180, 150), drop=drop) for drop in (0.0, 2.0))
    asked = target(shut, opened)
    some, full = (
        column(drawn(draw_mouths, picture(), replace(asked, teeth=torch.tensor([t]))), opened)
        for t in (0.4, 0.9)
    )
    below = len(full) // 2
    assert full[below] > 0.7 * SKIN
    assert some[below] < 0.6 * full[below]
    assert full.min() > 1.8 * some.min()


def test_made_teeth_take_the_place_of_what_shows_far_fewer():
    parted = landmarks(size=SIZE, at=(180, 150), drop=1.2)
    frames = with_teeth(parted)
    frames[frames == 240] = 20  # a mouth that shows none
    light = led(0.45, frames, parted)[2:-4] > 0.6 * SKIN
    assert light.float().mean() > 0.35


def test_the_sources_own_teeth_are_in_shade_where_the_driving_ones_have_ended():
    smiling = landmarks(size=SIZE, at=(180, 150), drop=1.8)
    frames = with_teeth(smiling)
    none, half, all_of_them = (led(share, frames, smiling) for share in (0.0, 0.5, 1.0))
    middle, count = slice(len(none) // 2, 2 * len(none) // 3), len(none)
    assert none[middle].max() < 0.6 * all_of_them[middle].min()
    torch.testing.assert_close(half[: count // 3], all_of_them[: count // 3], atol=3, rtol=0)
    assert all_of_them[middle].min() > 200


def test_the_sources_own_teeth_stay_where_they_are_about_as_many():
    parted = landmarks(size=SIZE, at=(180, 150), drop=1.2)
    frames = with_teeth(parted)
    few, many = (
        drawn(draw_mouths, frames, replace(target(parted, OPENED), teeth=torch.tensor([t])))
        for t in (0.35, 0.5)
    )
    x, y = OPENED[UPPER_LIP, :2].int().tolist()
    upper = slice(y + 2, y + 2 + (BOTTOM - TOP) // 4), slice(x - 10, x + 10)
    assert few[upper].mean() > 200
    torch.testing.assert_close(few[upper], many[upper], atol=2, rtol=0)


def test_teeth_have_less_tint_than_the_skin():
    frames = picture()
    frames[..., :] = torch.tensor((190, 110, 60), dtype=torch.uint8)
    shut = landmarks(size=SIZE, at=(180, 150))
    frame = drawn(draw_mouths, frames, replace(target(shut, OPENED), teeth=torch.tensor([0.6])))
    x, y = OPENED[UPPER_LIP, :2].int().tolist()
    tooth = frame[y + 2 : BOTTOM - 2, x + 4 : x + 7].flatten(0, 1)
    red, green, blue = tooth[tooth.sum(1).argmax()].tolist()
    assert 1.1 < red / green < 1.6  # 1.7 of the skin
    assert green / blue < 1.5


def test_teeth_are_read_of_each_mouth_by_itself():
    frames = torch.cat((mouth(WHITE), mouth(DARK), mouth(WHITE, DARK)))
    torch.testing.assert_close(shown(frames), torch.cat([shown(frame[None]) for frame in frames]))
    assert TEETH.usual < 0.5


OPEN = torch.full((8,), 0.3)


def test_one_odd_reading_of_an_open_mouths_teeth_is_evened_out():
    shares = torch.tensor([0.8] * 4 + [0.0] + [0.8] * 3)
    found, _ = averaged(shares, OPEN, None)
    assert found[:4].sub(0.8).abs().max() < 1e-6
    assert found[4] > 0.35
    assert found[7] > 0.65


def test_a_mouth_that_opens_shows_at_once_what_is_read_of_it():
    shares = torch.tensor([0.1] * 4 + [0.9] * 4)
    openings = torch.where(torch.arange(8) < 4, 0.02, 0.3)
    found, _ = averaged(shares, openings, None)
    assert found[4:].sub(0.9).abs().max() < 1e-6


def test_averages_do_not_depend_on_where_chunks_end():
    shares = torch.linspace(0, 1, 8)
    whole, _ = averaged(shares, OPEN, None)
    first, sums = averaged(shares[:3], OPEN[:3], None)
    assert torch.equal(torch.cat((first, averaged(shares[3:], OPEN[3:], sums)[0])), whole)
