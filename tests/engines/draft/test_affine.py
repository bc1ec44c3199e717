"""Affine maps over pixels, against what they are made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from liveportrait_v2v.compose import PixelRect
from liveportrait_v2v.engines.draft.affine import Affine, from_square, to_sampling
from liveportrait_v2v.faces import FaceSquare

RECTS = [PixelRect(2, 5, 6, 12), PixelRect(20, 30, 24, 37)]  # of 4 rows and 7 columns


def some_maps(count: int) -> Affine:
    numbers = torch.Generator().manual_seed(1)
    axes = torch.eye(2) + 0.4 * torch.rand(count, 2, 2, generator=numbers)
    return Affine(10 * torch.rand(count, 2, generator=numbers), axes)


def taken_by(maps: Affine, places: torch.Tensor) -> torch.Tensor:
    """Places [N, h, w, 2], mapped one by one."""
    return maps.center[:, None, None] + torch.einsum("nhwa,nab->nhwb", places, maps.axes)


def test_a_map_over_rectangles_takes_the_centres_of_their_pixels():
    maps = some_maps(4)  # two for each rectangle
    pixels = torch.stack([rect.pixels("cpu") for rect in RECTS]).repeat_interleave(2, dim=0)
    torch.testing.assert_close(maps.over(RECTS), taken_by(maps, pixels).permute(0, 3, 1, 2))


def test_places_are_mapped_from_a_start_of_their_own_if_there_is_one():
    maps, places, start = some_maps(2), torch.rand(2, 3, 5, 2), torch.rand(2, 2, 3, 5)
    x, y = places.unbind(-1)
    expected = taken_by(maps, places).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps.of(x, y), expected)
    torch.testing.assert_close(maps.of(x, y, start), expected - maps.center[..., None, None] + start)


def test_maps_behind_each_other_and_back_again_move_nothing():
    maps, others, places = some_maps(3), some_maps(3), torch.rand(3, 2, 2, 2)
    x, y = places.unbind(-1)
    there = maps.then(others)
    torch.testing.assert_close(there.of(x, y), others.of(*maps.of(x, y).unbind(1)))
    back = there.then(others.inverse).then(maps.inverse)
    torch.testing.assert_close(back.of(x, y), torch.stack((x, y), dim=1), atol=1e-4, rtol=0)


def test_the_way_back_from_a_line_is_a_place():
    flat = Affine(torch.ones(1, 2), torch.tensor([[[2.0, 0.0], [0.0, 0.0]]]))
    assert torch.equal(flat.inverse.of(torch.rand(1, 2, 2), torch.rand(1, 2, 2)), torch.zeros(1, 2, 2, 2))


@pytest.mark.parametrize("times", [1, 2])
def test_a_squares_map_is_the_squares_own(times):
    square = FaceSquare.turned(torch.tensor([[50.0, 40.0]]), torch.tensor([30.0]), torch.tensor([0.3]))
    places = torch.rand(1, 4, 4, 2, dtype=torch.float64) * 8
    x, y = places.expand(times, -1, -1, -1).unbind(-1)
    mapped = from_square(square, 8, times).of(x, y)
    assert len(mapped) == times
    torch.testing.assert_close(mapped[:1].permute(0, 2, 3, 1), square.to_frame(places, 8))


def test_pixels_are_sampled_where_they_are():
    frames = torch.rand(1, 1, 40, 50)
    part = PixelRect(10, 20, 30, 44)
    places = to_sampling([part], 1, torch.device("cpu")).over([PixelRect(12, 25, 16, 32)])
    sampled = F.grid_sample(frames[..., 10:30, 20:44], places.permute(0, 2, 3, 1), align_corners=False)
    torch.testing.assert_close(sampled, frames[..., 12:16, 25:32], atol=1e-5, rtol=0)
