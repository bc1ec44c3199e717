"""Cutting out and pasting back."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v import compose
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.geometry import crop_square


def smooth_frames(n: int = 2, height: int = 180, width: int = 200) -> torch.Tensor:
    """Frames whose colours change slowly, so that resampling loses next to nothing."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    waves = torch.stack((torch.sin(x + y), torch.cos(x - y), torch.sin(2 * x)), dim=-1)
    return torch.stack([((waves * 0.4 + 0.5) * 255).round().to(torch.uint8)] * n)


def upright_square(x: float, y: float, side: float, n: int = 1) -> FaceSquare:
    return FaceSquare(torch.tensor([[x, y]] * n), torch.eye(2).repeat(n, 1, 1), torch.tensor([side] * n))


def tilted_square(n: int = 2) -> FaceSquare:
    return crop_square(landmarks(at=(100, 95), size=3, roll=17).expand(n, -1, -1), scale=2.0)


def test_a_crop_on_whole_pixels_is_those_pixels():
    frames = torch.randint(0, 256, (1, 40, 50, 3), dtype=torch.uint8)
    crop = compose.crop(frames, upright_square(20, 18, 16), 16)
    wanted = frames[0, 10:26, 12:28].permute(2, 0, 1) / 255
    torch.testing.assert_close(crop[0], wanted, atol=1e-5, rtol=0)


def test_a_crop_is_black_outside_the_frame():
    frames = torch.full((1, 40, 50, 3), 200, dtype=torch.uint8)
    crop = compose.crop(frames, upright_square(0, 0, 16), 16)
    assert crop[0, :, :7].max() == 0
    assert crop[0, :, 9:, 9:].min() > 0.7


def test_a_square_outside_the_frame_gives_black_and_changes_nothing():
    frames, square = smooth_frames(1), upright_square(-500, -500, 30)
    assert compose.crop(frames, square, 32).max() == 0
    assert torch.equal(compose.paste_back(frames, torch.ones(1, 3, 32, 32), square), frames)


def test_one_square_serves_all_frames():
    frames = smooth_frames(3)
    assert torch.equal(
        compose.crop(frames, upright_square(60, 60, 40), 32)[2],
        compose.crop(frames[2:], upright_square(60, 60, 40), 32)[0],
    )


@pytest.mark.parametrize("size", [64, 101, 256, 512, 1024])
def test_a_crop_pasted_back_unchanged_gives_the_frame_for_every_size(size):
    frames = smooth_frames()
    square = tilted_square()
    result = compose.paste_back(frames, compose.crop(frames, square, size), square)
    error = (result.int() - frames.int()).abs()
    assert error.max() <= 2
    assert error.float().mean() < 0.2


@pytest.mark.parametrize("size", [65, 512])
def test_a_picture_of_any_size_lands_on_the_same_pixels(size):
    frames = torch.zeros(1, 120, 160, 3, dtype=torch.uint8)
    half = torch.zeros(1, 3, size, size)
    half[..., size // 2 :] = 1
    result = compose.paste_back(frames, half, upright_square(80.0, 60.0, 100))[0, 60, :, 0].float()
    middle = 130 - result.sum() / 255
    # The ramp of the mask takes half its width at the right border.
    assert middle.item() == pytest.approx(80 + 100 * compose.FEATHER / 2, abs=100 / size + 0.2)


def test_a_picture_larger_than_its_square_is_averaged_and_not_sampled():
    stripes = torch.zeros(1, 3, 512, 512)
    stripes[..., ::2] = 1
    frames = torch.zeros(1, 120, 160, 3, dtype=torch.uint8)
    for shift in (0.0, 0.4):
        result = compose.paste_back(frames, stripes, upright_square(80.0 + shift, 60.0, 60))
        # A mean over 8.5 pixels has half a stripe too many or too few.
        assert (result[0, 50:70, 70:90].float() - 127.5).abs().max() <= 255 * 0.5 / 8.5 / 2 + 1


def test_the_corners_are_rounded_by_the_ramps_width():
    axis = (torch.arange(512) + 0.5) / 512
    mask = compose.border_mask(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1))
    assert mask[16:496, 16:496].min() == 1
    assert mask[4, 4] == 0
    assert mask[15, 15] == pytest.approx(1 - 2**0.5 * 0.5 / 16, abs=0.01)


def test_pixels_outside_the_mask_keep_their_bytes():
    frames = torch.randint(0, 256, (2, 180, 200, 3), dtype=torch.uint8)
    square = tilted_square()
    result = compose.paste_back(frames, torch.rand(2, 3, 256, 256), square)
    region = compose.PixelRect(0, 0, 180, 200)
    outside = compose.border_mask(region.to_square(square)) == 0
    assert outside.any()
    assert (~outside).any()
    assert torch.equal(result[outside], frames[outside])
    assert not torch.equal(result[~outside], frames[~outside])


def test_inputs_are_not_modified():
    frames, crops = torch.randint(0, 256, (2, 180, 200, 3), dtype=torch.uint8), torch.rand(2, 3, 64, 64)
    kept_frames, kept_crops = frames.clone(), crops.clone()
    compose.crop(frames, tilted_square(), 64)
    compose.paste_back(frames, crops, tilted_square())
    assert torch.equal(frames, kept_frames)
    assert torch.equal(crops, kept_crops)


def test_the_mask_ramps_over_a_thirty_second_of_the_side_and_is_opaque_inside():
    axis = (torch.arange(512) + 0.5) / 512
    mask = compose.border_mask(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1))
    middle = mask[256]
    torch.testing.assert_close(middle[:16], (torch.arange(16) + 0.5) / 16, atol=1e-4, rtol=0)
    assert middle[16:-16].min() == 1
    assert mask[0, 0] == 0
    assert mask[:, 0].max() < 0.05
    assert (mask == 1).float().mean().item() == pytest.approx(0.88, abs=0.01)


def test_a_region_stays_inside_the_frame():
    region = compose.rect_of(upright_square(10, 10, 100), 120, 160)
    assert (region.top, region.left) == (0, 0)
    assert region.bottom <= 120
    assert region.right <= 160
    assert region.bottom >= 60
    assert region.right >= 60


def test_the_identity_grid_of_a_region_gives_its_very_pixels():
    frames = torch.randint(0, 256, (1, 50, 61, 3), dtype=torch.uint8)
    region = compose.PixelRect(3, 5, 44, 60)
    pictures = compose.to_float(region.of(frames))
    same = torch.nn.functional.grid_sample(pictures, region.identity("cpu").unsqueeze(0), align_corners=False)
    assert torch.equal(same.round(), pictures)
