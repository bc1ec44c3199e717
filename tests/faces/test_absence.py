"""Frames without a face are absent, end no track and invent no face."""

from __future__ import annotations

import pytest
import torch

LAST_FACE = (
    63  # of the frames of face_noface, at the constant rate at which they are read; a title card follows
)


def test_the_title_card_after_a_face_shows_no_face(frames, tracked):
    tracks = tracked(torch.cat((frames("face_noface", LAST_FACE - 7, 40), frames("face_noface", 150, 15))))
    assert tracks.present[:8, 0].all()
    assert not tracks.present[8:].any()


def test_where_a_face_is_absent_landmarks_and_presence_are_zero(frames, tracked):
    tracks = tracked(frames("face_noface", LAST_FACE - 3, 8))
    absent = ~tracks.present
    assert absent.any()
    assert (tracks.landmarks[absent] == 0).all()
    assert (tracks.presence[absent] == 0).all()


def test_a_clip_that_begins_without_a_face_numbers_the_first_that_comes(frames, tracked):
    tracks = tracked(torch.cat((frames("face_noface", 110, 9), frames("face_noface", 0, 9))))
    assert tracks.present[:, 0].tolist() == [False] * 9 + [True] * 9


def test_a_face_that_comes_back_has_its_number_again(frames, tracked):
    away = frames("face_noface", 100, 12)
    tracks = tracked(torch.cat((frames("face_noface", 0, 10), away, frames("face_noface", 10, 10))))
    assert tracks.present.shape[1] == 1
    assert tracks.present[:, 0].tolist() == [True] * 10 + [False] * 12 + [True] * 10


@pytest.mark.parametrize("kind", ["black", "noise", "stripes", "smooth"])
def test_no_face_is_found_in_a_picture_of_nothing(tracked, kind):
    random = torch.Generator().manual_seed(0)
    shape = 6, 180, 320, 3
    if kind == "black":
        clip = torch.zeros(shape, dtype=torch.uint8)
    elif kind == "noise":
        clip = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    elif kind == "stripes":
        clip = ((torch.arange(320) // 7 % 2 * 255).byte()[None, None, :, None]).expand(shape)
    else:
        coarse = torch.rand(6, 3, 6, 9, generator=random) * 255
        clip = torch.nn.functional.interpolate(coarse, shape[1:3], mode="bicubic").clamp(0, 255)
        clip = clip.byte().permute(0, 2, 3, 1)
    assert not tracked(clip).present.any()


def test_a_number_that_was_never_given_is_absent_from_every_frame(frames, tracked):
    landmarks, present, _ = tracked(frames("carphone", 0, 3)).face(4)
    assert landmarks.shape == (3, 478, 3)
    assert not present.any()


def test_a_single_odd_frame_is_absent_and_the_rest_stays(frames, tracked):
    clip = frames("jwp_intro", 0, 12)
    clip[5] = 0
    assert tracked(clip).present[:, 0].tolist() == [True] * 5 + [False] + [True] * 6


def test_one_pixel_high_and_tiny_pictures_are_just_faceless(tracked):
    for shape in ((2, 1, 64, 3), (2, 64, 1, 3), (2, 1, 1, 3)):
        assert not tracked(torch.full(shape, 128, dtype=torch.uint8)).present.any()
