"""Blur of faces, and pictures that are blurred."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v.engines.draft.blur import BLUR, blur_of, blurred
from liveportrait_v2v.engines.draft.sampling import drawn_out, steps_of

FACE = landmarks(size=9)


def checks(blur: float) -> torch.Tensor:
    """A picture [1, 300, 400, 3] of black and white checks of 24 pixels, with so much blur."""
    y, x = (torch.arange(size) // 24 for size in (300, 400))
    sharp = 255.0 * ((y.unsqueeze(1) + x) % 2).expand(1, 3, -1, -1)
    return blurred(sharp, torch.tensor([blur])).permute(0, 2, 3, 1).round().byte()


@pytest.mark.parametrize("blur", [0.7, 1.2, 2.0, 2.7])
def test_a_blur_is_read_off_the_edges_of_a_face(blur):
    assert blur_of(checks(blur), FACE[None]).item() == pytest.approx(blur, rel=0.2)


def test_a_face_without_edges_or_outside_the_frame_has_a_blur_within_the_limits():
    low, high = BLUR.limits
    grey = torch.full((1, 300, 400, 3), 90, dtype=torch.uint8)
    for points in (FACE, FACE + 5000.0, FACE * 0.01):
        assert low <= blur_of(grey, points[None]).item() <= high


def test_each_picture_is_blurred_by_its_own_whatever_is_beside_it():
    pictures, blur = torch.rand(3, 3, 40, 50), torch.tensor([0.6, 1.4, 2.6])
    together = blurred(pictures, blur)
    for k in range(3):
        assert torch.equal(together[k, None], blurred(pictures[k, None], blur[k, None]))
    spread = [part.std().item() for part in together]
    assert spread == sorted(spread, reverse=True)


def test_a_blur_keeps_light_and_what_is_even():
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    spot = blurred(point, torch.tensor([2.0]))[0, 0]
    away = torch.arange(41.0) - 20
    assert spot.sum().item() == pytest.approx(1, abs=1e-4)
    assert (spot.sum(0) * away.square()).sum().sqrt().item() == pytest.approx(2, rel=0.03)
    torch.testing.assert_close(blurred(torch.ones(1, 3, 9, 9), torch.tensor([2.0])), torch.ones(1, 3, 9, 9))


def test_parts_that_are_drawn_out_are_told_from_others_and_from_jumps():
    x = (torch.arange(96) + 0.5) / 96
    shift = torch.zeros(3, 2, 96, 96)
    shift[0, 0, :, 48:] = -0.75 * (x[48:] - x[48])  # four pixels of the result for one of the source
    shift[1, 0, :, 48:] = -0.3 * (x[48:] - x[48])
    shift[2, 1, 48:] = -1 / 96  # one row is there twice
    streaks, little, jump = drawn_out(steps_of(shift))[:, 0]
    assert streaks[:, 28:44].min() > 0.95
    assert streaks[:, :18].max() == 0
    assert little.max() == 0
    assert jump.max() == 0
