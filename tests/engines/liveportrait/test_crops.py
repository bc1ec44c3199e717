"""The pictures that the networks read."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v import compose
from liveportrait_v2v.engines.liveportrait.crops import (
    MeanSquare,
    driving_crops,
    source_crops,
    source_squares,
)
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.settings import AnimationSettings


def ramp(height: int = 240, width: int = 320) -> torch.Tensor:
    """A frame whose red grows to the right and whose green grows downwards, [1, H, W, 3]."""
    y, x = torch.meshgrid(torch.linspace(0, 255, height), torch.linspace(0, 255, width), indexing="ij")
    return torch.stack((x, y, 0 * x), dim=-1).to(torch.uint8)[None]


@pytest.mark.parametrize("dsize", [64, 256, 300, 512, 1024])
def test_a_crop_shows_the_same_whatever_its_size(dsize):
    marks, settings = landmarks().unsqueeze(0), AnimationSettings(scale=1.5)
    square = source_squares(marks, settings)
    usual = source_crops(ramp(), square, settings)
    other = source_crops(ramp(), square, AnimationSettings(scale=1.5, dsize=dsize))
    assert other.shape == (1, 3, 256, 256)
    assert (other - usual)[..., 4:-4, 4:-4].abs().max() < 2 / 255


def test_many_large_crops_are_those_of_each_frame_alone():
    marks = torch.stack([landmarks(roll=k) for k in range(3)])
    settings = AnimationSettings(dsize=2048)
    squares = source_squares(marks, settings)
    all_at_once = source_crops(ramp().expand(3, -1, -1, -1), squares, settings)
    alone = source_crops(ramp(), squares[2:], settings)
    torch.testing.assert_close(all_at_once[2:], alone, atol=2e-5, rtol=0)


def test_the_ratios_move_the_source_crop():
    marks = landmarks().unsqueeze(0)
    middles = []
    for vx_ratio in (-0.1, 0.1):
        settings = AnimationSettings(vx_ratio=vx_ratio, scale=1.5)
        square = source_squares(marks, settings)
        middles.append(source_crops(ramp(), square, settings)[0, 0, 128, 128])
        product = square.m_o2c(512) @ square.m_c2o(512)
        torch.testing.assert_close(product[0], torch.eye(3), atol=2e-4, rtol=0)
    shift = 0.2 * square.side.item() / 320
    assert (middles[1] - middles[0]).item() == pytest.approx(shift, abs=0.01)


def test_a_driving_frame_without_a_square_is_read_whole():
    whole = driving_crops(ramp(), None)
    assert whole.shape == (1, 3, 256, 256)
    torch.testing.assert_close(whole[0, :, 0, 0], torch.zeros(3), atol=2 / 255, rtol=0)
    torch.testing.assert_close(whole[0, :2, -1, -1], torch.ones(2), atol=2 / 255, rtol=0)


def test_a_driving_square_is_cut_out():
    square = FaceSquare(torch.tensor([[160.0, 120.0]]), torch.eye(2)[None], torch.tensor([80.0]))
    crop = driving_crops(ramp(), square)
    wanted = compose.crop(ramp(), square, 256)
    torch.testing.assert_close(crop, wanted, atol=2 / 255, rtol=0)


def test_the_driving_square_is_upright_and_the_mean_of_the_frames_squares():
    mean = MeanSquare()
    mean.add(torch.stack([landmarks(at=(100, 100), roll=15), landmarks(at=(140, 100), roll=15)]))
    mean.add(landmarks(at=(180, 100), roll=15).unsqueeze(0))
    middle = MeanSquare()
    middle.add(landmarks(at=(140, 100), roll=15).unsqueeze(0))
    assert torch.equal(mean.get().axes[0], torch.eye(2))
    torch.testing.assert_close(mean.get().center, middle.get().center, atol=1e-3, rtol=0)
    torch.testing.assert_close(mean.get().side, middle.get().side, atol=1e-3, rtol=0)


def test_no_face_gives_no_square():
    mean = MeanSquare()
    mean.add(torch.zeros(0, 478, 3))
    assert mean.get() is None
