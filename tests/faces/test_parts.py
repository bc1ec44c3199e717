"""Parts of the tracker: boxes, squares and crops, detectors, scene cuts."""

from __future__ import annotations

import math

import pytest
import torch

from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.faces.boxes import ORDERS, distance, iou
from liveportrait_v2v.faces.crops import cut, landmarks_in_frame, squares_of_landmarks
from liveportrait_v2v.faces.detect import detect, letterbox
from liveportrait_v2v.faces.scenes import CutFinder


def ramp(height, width):
    """Return a picture whose red is the column and whose green is the row, in pixels."""
    clip = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    clip[..., 0] = torch.arange(width).byte()
    clip[..., 1] = torch.arange(height).byte()[:, None]
    return clip


def square(x: float, y: float, side: float, angle: float) -> FaceSquare:
    return FaceSquare.turned(torch.tensor([[x, y]]), torch.tensor([side]), torch.tensor([angle]))


def numbers(square: FaceSquare) -> tuple[float, ...]:
    """Return centre, side and angle."""
    return *square.center[0].tolist(), square.side.item(), square.angle.item()


def test_boxes_overlap_by_their_shared_part():
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0


def test_distance_counts_face_sizes_and_octaves():
    assert distance((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(0.5)
    assert distance((0, 0, 10, 10), (-5, -5, 15, 15)) == pytest.approx(1)


def test_every_order_sorts_by_its_name():
    high, large = (50, 0, 60, 10), (0, 20, 40, 60)
    first = {name: min((high, large), key=key) for name, key in ORDERS.items()}
    assert first == {
        "large-small": large,
        "small-large": high,
        "left-right": large,
        "right-left": high,
        "top-bottom": high,
        "bottom-top": large,
    }


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, math.pi])
def test_a_point_of_a_crop_goes_back_to_where_it_was_sampled(angle):
    region = square(120.0, 90.0, 80.0, angle)
    crop = cut(ramp(200, 250), region, 64)[0] * 255
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    points = torch.stack((u, v, torch.zeros_like(u)), -1).view(1, -1, 3)
    places = landmarks_in_frame(points, region, 64)[0].view(64, 64, 3)
    # The ramp's value at a place is half a pixel less than its coordinate.
    assert (crop[..., :2] + 0.5 - places[..., :2]).abs().max() < 0.01


def test_depth_is_scaled_like_the_picture():
    assert landmarks_in_frame(torch.tensor([[[128.0, 128.0, 10.0]]]), square(5.0, 7.0, 512.0, 0.5), 256)[
        0, 0
    ].tolist() == (pytest.approx([5, 7, 20]))


def test_a_square_beyond_the_frame_repeats_its_edge():
    crop = cut(ramp(40, 60), square(0.0, 20.0, 40.0, 0.0), 40)[0] * 255
    assert crop[:, :20, 0].amax() < 0.01
    assert crop[20, :, 0].tolist()[20:] == pytest.approx(list(range(20)), abs=0.01)


@pytest.mark.parametrize("at", [(20.0, 20.0), (0.0, 3.0), (60.0, 40.0)])
def test_a_small_square_is_enlarged_without_dark_or_bright_rims(at):
    crop = cut(torch.full((1, 40, 60, 3), 255, dtype=torch.uint8), square(*at, 15.0, 0.2), 256)
    assert crop.min() > 0.999
    assert crop.max() <= 1


def test_a_large_square_is_averaged_before_it_is_sampled():
    stripes = torch.zeros(1, 512, 512, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 200
    crop = cut(stripes, square(256.0, 256.0, 500.0, 0.0), 125) * 255
    assert (crop - 100).abs().max() < 1


def test_the_square_of_landmarks_stands_on_the_eye_line():
    points = torch.zeros(1, 478, 3)
    points[0, :, 0] = torch.linspace(-10, 10, 478)
    points[0, 10, 1], points[0, 152, 1] = -20.0, 20.0
    points[0, 33, :2], points[0, 263, :2] = torch.tensor([-5.0, 0]), torch.tensor([5.0, 0])
    upright = numbers(squares_of_landmarks(points + torch.tensor([100.0, 50, 0])))
    assert upright == pytest.approx((100, 50, 60, 0), abs=1e-3)
    turn = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # a quarter, clockwise
    rolled = numbers(squares_of_landmarks(points @ turn + torch.tensor([100.0, 50, 0])))
    assert rolled == pytest.approx((100, 50, 60, math.pi / 2), abs=1e-3)


@pytest.mark.parametrize("shape", [(120, 200), (200, 120), (96, 96), (10, 300)])
def test_a_letterboxed_picture_keeps_its_shape_in_the_middle(shape):
    image, scale, left, top = letterbox(torch.full((1, *shape, 3), 255, dtype=torch.uint8), 96)
    bright = image[0, :, :, 0] > 0
    assert image.shape == (1, 96, 96, 3)
    assert scale == pytest.approx(96 / max(shape))
    size = bright.any(1).sum().item(), bright.any(0).sum().item()
    assert size == (max(round(shape[0] * scale), 1), round(shape[1] * scale))
    assert bright.any(0).int().argmax() == left
    assert bright.any(1).int().argmax() == top


@torch.no_grad()
@pytest.mark.parametrize("net", ["face_detector_full_range", "face_detector_short_range"])
def test_a_detector_sees_one_face_where_there_is_one(frames, net):
    (found,) = detect(frames("astronaut"), net, "cpu")[0]
    x0, y0, x1, y1 = found.box
    assert x0 < found.right_eye[0] < found.left_eye[0] < x1
    assert y0 < found.right_eye[1] < y1
    assert math.dist(found.right_eye, (204, 100)) < 10
    assert math.dist(found.left_eye, (247, 103)) < 10


def cuts(finder: CutFinder, clip: torch.Tensor) -> list[bool]:
    return [glance.cut for glance in finder.find(clip)]


def test_a_cut_is_seen_on_its_first_frame(frames):
    clip = torch.cat((frames("jwp_intro", 0, 6)[:, 60:420], frames("wolfgang", 0, 6)))
    assert cuts(CutFinder(), clip) == [False] * 6 + [True] + [False] * 5


def test_a_cut_between_two_chunks_is_seen(frames):
    finder = CutFinder()
    assert not any(cuts(finder, frames("jwp_intro", 0, 6)[:, 60:420]))
    assert cuts(finder, frames("wolfgang", 0, 3)) == [True, False, False]


@pytest.mark.parametrize("name", ["wolfgang", "carphone", "ltx2", "obama"])
def test_movement_is_not_a_cut(frames, name):
    assert not any(cuts(CutFinder(), frames(name, 0, 40)))


def test_a_picture_that_always_changes_has_no_cuts_in_it():
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (40, 40, 60, 3), dtype=torch.uint8, generator=random)
    assert not any(cuts(CutFinder(), noise)[20:])


ASTRONAUT = (180, 60, 270, 170)
"""The face's box in astronaut.png."""


def looks_the_same(one, other, box=ASTRONAUT) -> bool:
    (before,), (after,) = CutFinder().find(one), CutFinder().find(other)
    return before.shows_same(after, box)


@pytest.mark.parametrize(("gain", "offset"), [(0.4, 0), (0.6, 60), (1.6, 20)])
def test_a_face_is_in_its_place_whatever_the_exposure(frames, gain, offset):
    frame = frames("astronaut")
    assert looks_the_same(frame, (frame.float() * gain + offset).clamp(0, 255).byte())


def test_a_face_is_in_its_place_while_the_rest_of_the_picture_changes(frames):
    frame = frames("astronaut")
    changed = 255 - frame
    changed[:, :240, 110:340] = frame[:, :240, 110:340]
    assert looks_the_same(frame, changed)


def test_a_face_is_not_in_its_place_where_a_grey_box_hides_it(frames):
    frame = frames("astronaut")
    hidden = frame.clone()
    hidden[:, :280, 80:360] = 128
    assert not looks_the_same(frame, hidden)


def test_another_person_at_one_place_is_not_the_same_picture(frames, heads):
    one, other = heads("jwp_intro", 256), heads("single_face", 256)
    assert not looks_the_same(one, other, (60, 50, 200, 220))


@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (1, 1), (40, 40)])
def test_a_flat_picture_of_any_size_is_the_same_as_itself(shape):
    frame = torch.full((1, *shape, 3), 90, dtype=torch.uint8)
    assert looks_the_same(frame, frame, (0, 0, 1, 1))
