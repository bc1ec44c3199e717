"""Crops of faces, and pasting them back."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from made_networks import MadeNetworks
from recording_engine import SIZE

from liveportrait_v2v import compose
from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import Cancelled, FaceNotFoundError
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.placement import Placement, PlacementError
from liveportrait_v2v.run import animate
from liveportrait_v2v.run.crops import FaceCropper, cut_squares
from liveportrait_v2v.run.paste import paste_crops
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

pytestmark = pytest.mark.slow
COUNT = 10
LEFT_RIGHT = MotionOptions(face_order="left-right")


def cropped(clip: Clip, numbers=None, **settings):
    """Return all crops and the placement of a clip's faces."""
    cropper = FaceCropper(clip, AnimationSettings(**settings), LEFT_RIGHT, faces=numbers)
    pictures = torch.cat([part.pictures for part in cropper.crops()])
    return pictures, cropper.placement


def pasted(clip: Clip, placement, pictures, masks=None):
    """Return the frames and the mask of pasted crops."""
    parts = list(paste_crops((chunk.frames for chunk in clip.chunks()), placement, iter(pictures), masks))
    return torch.cat([part.frames for part in parts]), torch.cat([part.mask for part in parts])


def frames_of(clip: Clip) -> torch.Tensor:
    return torch.cat([chunk.frames for chunk in clip.chunks()])


def loudness(error: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio in decibels."""
    return (20 * torch.log10(255 / error.float().square().mean().sqrt())).item()


@pytest.fixture
def couple(make_two) -> Clip:
    return make_two(COUNT, 25)


def test_untouched_crops_give_the_frames_again(faces):
    couple = Clip(Frames(torch.cat((faces, faces.flip(2)), 2), Fraction(25)))
    pictures, placement = cropped(couple, dsize=354)
    assert pictures.shape == (len(faces), 354, 354, 3)
    assert placement.squares.side.mean().item() == pytest.approx(354, abs=30)
    result, mask = pasted(couple, placement, pictures)
    source = frames_of(couple)
    assert loudness((result.int() - source.int())[mask > 0]) >= 45
    assert torch.equal(result[mask == 0], source[mask == 0])
    assert (mask == 0).any()


def test_inverted_crops_change_exactly_the_mask(couple):
    pictures, placement = cropped(couple, dsize=256)
    result, mask = pasted(couple, placement, 255 - pictures)
    changed = (result.int() - frames_of(couple).int()).abs().amax(-1) > 0
    assert not changed[mask == 0].any()
    assert changed[mask == 1].float().mean() > 0.98  # grey stays grey


def test_the_squares_are_those_that_an_animation_pastes(couple, make):
    _, placement = cropped(couple, dsize=256)
    got = []
    animate(
        couple,
        Clip(make(COUNT, 25)),
        engine=create_engine("draft"),
        settings=AnimationSettings(video_frame_load_cap=0),
        options=LEFT_RIGHT,
        sink=got.append,
    )
    for name in ("center", "axes", "side"):
        animated = torch.cat([getattr(rendered.squares[0], name) for rendered in got])
        torch.testing.assert_close(getattr(placement.squares, name), animated)


@pytest.mark.parametrize("size", [64, 1000])
def test_crops_of_another_size_land_on_the_same_place(couple, size):
    pictures, placement = cropped(couple, dsize=256)
    other = torch.nn.functional.interpolate(pictures.permute(0, 3, 1, 2).float(), (size, size), mode="area")
    one, _ = pasted(couple, placement, pictures)
    two, _ = pasted(couple, placement, (other.permute(0, 2, 3, 1) / 255).clamp(0, 1))
    assert (one.int() - two.int()).abs().float().mean() < 5


def test_a_mask_takes_the_place_of_the_usual_one(couple):
    pictures, placement = cropped(couple, dsize=256)
    upper = torch.zeros(256, 256)
    upper[:128] = 1
    result, mask = pasted(couple, placement, 255 - pictures, iter([upper] * len(pictures)))
    changed = (result.int() - frames_of(couple).int()).abs().amax(-1) > 0
    assert not changed[mask == 0].any()
    place = compose.PixelRect(0, 0, SIZE, 2 * SIZE).to_square(placement.squares[:1])[0]
    inside = (place > 0.02).all(-1) & (place < 0.98).all(-1)
    assert mask[0][inside & (place[..., 1] < 0.48)].min() > 0.999
    assert mask[0][inside & (place[..., 1] > 0.52)].max() == 0


def test_of_two_faces_each_crop_goes_to_its_own(couple):
    pictures, placement = cropped(couple, numbers=(0, 1), dsize=128)
    assert pictures.shape[0] == placement.crop_count == 2 * COUNT
    red = torch.zeros_like(pictures)
    red[1::2, ..., 0] = 255  # of the right one
    result, _ = pasted(couple, placement, red)
    centres = [placement.of_face(face).center[0].int().tolist() for face in range(2)]
    colours = [result[0, y, x].tolist() for x, y in centres]
    assert colours == [[0, 0, 0], [255, 0, 0]]


def test_frames_without_the_face_are_in_the_placement_and_not_in_the_batch(make):
    clip = Clip(make(20, 25, without=range(5, 13)))
    pictures, placement = cropped(clip, dsize=64)
    assert len(placement) == 20
    assert len(pictures) == placement.crop_count < 20
    result, _ = pasted(clip, placement, 255 - pictures)
    lost = ~placement.shown[:, 0]
    assert torch.equal(result[lost], frames_of(clip)[lost])


def test_a_still_has_one_crop(faces):
    still = Clip(Frames(faces[:1]))
    pictures, placement = cropped(still, dsize=64)
    assert (len(pictures), len(placement), placement.rate) == (1, 1, None)


def test_a_crop_of_a_larger_square_is_averaged(faces):
    stripes = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    square = FaceCropper(Clip(Frames(faces[:1])), AnimationSettings(scale=1))
    list(square.crops())
    crop = cut_squares(stripes, square.placement.squares, 32)
    assert (crop[0, 8:24, 8:24].float() - 127.5).abs().max() < 64


def test_a_number_of_pictures_that_does_not_fit_is_said(couple):
    pictures, placement = cropped(couple, dsize=64)
    with pytest.raises(PlacementError, match="has 10 crops, got 9 pictures"):
        pasted(couple, placement, pictures[:-1])
    with pytest.raises(PlacementError, match="has 10 crops, got more pictures"):
        pasted(couple, placement, torch.cat((pictures, pictures[:1])))
    with pytest.raises(PlacementError, match="has 10 crops, got 3 masks"):
        pasted(couple, placement, pictures, iter(torch.ones(3, 8, 8)))


@pytest.mark.parametrize("count", [8, 12])
def test_a_clip_that_does_not_fit_is_said(couple, make_two, count):
    pictures, placement = cropped(couple, dsize=64)
    with pytest.raises(PlacementError, match="is of 10 frames of 400x200 pixels, and the clip is not"):
        pasted(make_two(count, 25), placement, pictures)


def test_a_face_that_nobody_has_is_an_error(couple):
    cropper = FaceCropper(couple, AnimationSettings(input_face_index=4))
    list(cropper.crops())
    with pytest.raises(FaceNotFoundError, match="face 4 was found nowhere"):
        _ = cropper.placement


def test_cutting_can_be_cancelled(couple):
    with pytest.raises(Cancelled):
        list(FaceCropper(couple).crops(cancelled=lambda: True))


def test_the_rate_is_the_clips(make):
    _, placement = cropped(Clip(make(6, Fraction(30000, 1001))), dsize=64)
    assert placement.rate == Fraction(30000, 1001)


def test_a_run_gives_the_engine_s_own_pictures_and_where_they_were_pasted(make):
    source, driving = Clip(make(20, 25, without=range(5, 13))), Clip(make(20, 25))
    got: list[RenderedFrames] = []
    made = animate(
        source, driving, engine=LivePortraitEngine(MadeNetworks()), sink=got.append, crops=True, chunk=3
    )
    placement = Placement.of([part.squares for part in got], made.size, made.rate)
    pictures = torch.cat([part.crops_by_frame() for part in got if len(part.crops_by_frame())])
    assert len(placement) == 20
    assert 10 <= len(pictures) == placement.crop_count < 20
    again, _ = pasted(source, placement, pictures.permute(0, 2, 3, 1))
    shown = placement.shown[:, 0]
    error = again[shown].int() - torch.cat([part.frames for part in got])[shown].int()
    assert error.abs().float().mean() < 1  # another interpolation, and the animation fades near the gap


def test_pictures_of_several_faces_come_frame_by_frame():
    sides = torch.tensor([[4.0, 0, 4], [4, 4, 0]])
    squares = tuple(FaceSquare(torch.zeros(3, 2), torch.eye(2).repeat(3, 1, 1), own) for own in sides)
    first, second = (torch.full((2, 3, 4, 4), value) for value in (1.0, 2.0))
    first[1], second[1] = 1.5, 2.5
    rendered = RenderedFrames(torch.zeros(3, 8, 8, 3), None, squares, (first, second))
    assert rendered.crops_by_frame()[:, 0, 0, 0].tolist() == [1.0, 2.0, 2.5, 1.5]


def test_a_run_that_is_not_asked_for_crops_gives_none(make):
    got: list[RenderedFrames] = []
    animate(make(3, 25), make(3, 25), engine=LivePortraitEngine(MadeNetworks()), sink=got.append)
    assert [part.crops for part in got] == [()]
