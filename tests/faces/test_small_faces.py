"""Faces of 40 pixels, in pictures of any size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from liveportrait_v2v.faces import FaceTracker, search
from liveportrait_v2v.faces.detect import detect, detect_in_tiles, needs_tiles, tile_count

SIZES = [(720, 1280), (1080, 1920), (2160, 3840)]


def scaled(picture: torch.Tensor, side: int) -> torch.Tensor:
    small = F.interpolate(
        picture.permute(2, 0, 1)[None].float(), (side, side), mode="bilinear", antialias=True
    )
    return small[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def four(frames) -> list[torch.Tensor]:
    """Four real heads, square; a face takes 0.57 of each side."""
    boxes = {
        "jwp_intro": (170, 80, 400, 310),
        "single_face": (200, 40, 440, 280),
        "cap12": (120, 80, 300, 260),
        "wolfgang": (286, 0, 606, 320),
    }
    heads = []
    for name, (left, top, right, bottom) in boxes.items():
        first = 290 if name == "wolfgang" else 0  # before, hands cover the face
        heads.append(frames(name, first, first + 1)[0, top:bottom, left:right])
    return heads


def group(heads: list[torch.Tensor], height: int, width: int, face: int) -> torch.Tensor:
    """Return a still [1, height, width, 3] of a group on grey with noise, each face so many pixels wide."""
    noise = torch.randn(height, width, 3, generator=torch.Generator().manual_seed(face)) * 8
    still, side = (110 + noise).clamp(0, 255).to(torch.uint8), round(face / 0.57)
    for k, head in enumerate(heads):
        x, y = int(width * (0.1 + 0.22 * k)), int(height * (0.2 + 0.15 * k))
        still[y : y + side, x : x + side] = scaled(head, side)
    return still[None]


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("face", [40, 60])
def test_a_group_of_small_faces_is_numbered(four, height, width, face):
    tracks = FaceTracker(order="left-right").track(group(four, height, width, face))
    assert tracks.present.tolist() == [[True] * 4]
    x = tracks.landmarks[0, :, :, 0].mean(1) / width
    assert x.tolist() == pytest.approx([0.1 + 0.22 * k for k in range(4)], abs=0.05)


@pytest.mark.slow
def test_faces_of_forty_pixels_are_detected_in_8k(four):
    assert len(detect_in_tiles(group(four, 4320, 7680, 40), "cpu")) == 4


def test_the_whole_picture_alone_does_not_show_them(four):
    assert detect(group(four, 1080, 1920, 40), "face_detector_full_range", "cpu") == [[]]


def test_small_faces_are_tracked_and_found_again(four):
    still = group(four, 1080, 1920, 50)
    gone = still.clone()
    gone[:, :, 480:800] = 110  # the second one
    clip = torch.cat([still] * 4 + [gone] * 4 + [still] * 8)
    present = FaceTracker(order="left-right").track(clip).present
    assert present[:, [0, 2, 3]].all()
    assert present[:4, 1].all()
    assert not present[4:8, 1].any()
    assert present[-4:, 1].all()


def test_faces_far_behind_a_large_one_get_no_numbers(four):
    still = group(four[1:], 1080, 1920, 50)
    still[0, 100:800, 1100:1800] = scaled(four[0], 700)
    assert FaceTracker().track(still).present.shape == (1, 1)


@pytest.mark.parametrize(
    ("height", "width", "tiles"), [(360, 640, 0), (720, 727, 0), (720, 1280, 6), (2160, 3840, 50)]
)
def test_only_pictures_that_need_it_are_searched_in_tiles(height, width, tiles):
    assert needs_tiles(height, width) == bool(tiles)
    if tiles:
        assert tile_count(height, width) == tiles


def test_a_clip_without_faces_is_searched_by_one_tile_a_frame_on_average(monkeypatch):
    searched = []
    monkeypatch.setattr(search, "detect_in_tiles", lambda *given: searched.append(1) or [])
    FaceTracker().track(torch.full((61, 1080, 1920, 3), 90, dtype=torch.uint8))
    assert len(searched) == 1 + 60 // tile_count(1080, 1920)


def test_one_large_face_and_a_small_one_beside_it_are_both_numbered(four):
    still = group(four[1:2], 1080, 1920, 50)
    still[0, 600:900, 1100:1400] = scaled(four[0], 300)
    assert FaceTracker().track(still).present.shape == (1, 2)
