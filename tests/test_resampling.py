"""Resizing of pictures."""

from __future__ import annotations

import torch

from liveportrait_v2v.resampling import resize


def test_shrinking_by_a_whole_number_takes_means():
    picture = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resize(picture, 4, 4), torch.nn.functional.avg_pool2d(picture, (2, 3)))


def test_shrinking_by_any_number_weighs_pixels_by_the_area_they_share():
    line = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    wanted = torch.tensor([(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 3) / 1.5])
    torch.testing.assert_close(resize(line, 1, 2)[0, 0, 0], wanted)


def test_growing_is_bilinear():
    picture = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(picture, (9, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(picture, 9, 20), wanted)
