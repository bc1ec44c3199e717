"""Faces that are given by a box, and followed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_cat import CAT, HEIGHT, WIDTH, picture, place

from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.faces import topology
from liveportrait_v2v.faces.given import BoxTracker, FaceBoxes, landmarks_in

COUNT = 40


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.stack([picture(k) for k in range(COUNT)])


def middle_and_width(landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = landmarks[:, list(topology.CROP_POINTS), :2].aminmax(dim=1)
    return (low + high) / 2, (high - low)[:, 0]


def test_the_landmarks_fill_the_box_from_brow_to_chin():
    landmarks = landmarks_in((10, 20, 110, 170))
    low, high = landmarks[list(topology.CROP_POINTS), :2].aminmax(dim=0)
    torch.testing.assert_close(torch.stack((low, high)), torch.tensor([[10.0, 20], [110, 170]]))
    left, right = (
        landmarks[list(points), :2].mean(0) for points in (topology.LEFT_IRIS, topology.RIGHT_IRIS)
    )
    assert 10 < left[0] < 60 < right[0] < 110
    assert left[1] == pytest.approx(right[1].item(), abs=0.1)


def test_a_box_is_followed_as_it_moves_and_grows(frames):
    tracker = BoxTracker(FaceBoxes.parse([120, 80, 80, 80]))
    parts = [tracker.track(part) for part in frames.split(7)]
    landmarks, present = (torch.cat(column) for column in zip(*parts, strict=True))
    assert present.all()
    middles, widths = middle_and_width(landmarks)
    wanted = torch.tensor([place(k) for k in range(COUNT)])
    assert (middles - wanted[:, :2]).norm(dim=1).max() < 0.04 * CAT
    assert (widths / CAT - wanted[:, 2]).abs().max() < 0.06


def test_where_chunks_end_does_not_matter(frames):
    whole = BoxTracker(FaceBoxes.parse([120, 80, 80, 80])).track(frames[:12])[0]
    tracker = BoxTracker(FaceBoxes.parse([120, 80, 80, 80]))
    assert torch.equal(torch.cat([tracker.track(part)[0] for part in frames[:12].split(5)]), whole)


def test_what_is_gone_is_lost_and_found_again_where_it_was(frames):
    frames = frames[:24].clone()
    for k in range(8, 14):
        frames[k] = picture(k, shown=False)
    frames[14:] = torch.stack([picture(k) for k in range(7, 17)])
    _, present = BoxTracker(FaceBoxes.parse([120, 80, 80, 80])).track(frames)
    assert not present[8:14].any()
    assert present[:8].all()
    assert present[14:].all()


def test_a_cut_to_something_else_is_a_loss(frames):
    other = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (6, HEIGHT, WIDTH, 3), np.uint8))
    _, present = BoxTracker(FaceBoxes.parse([120, 80, 80, 80])).track(torch.cat((frames[:4], other)))
    assert present.tolist() == [True] * 4 + [False] * 6


def test_boxes_for_each_frame_are_taken_as_they_are(frames):
    given = FaceBoxes.parse([[10, 20, 30, 40], None, [50, 60, 70, 80]])
    landmarks, present = BoxTracker(given).track(frames[:5])
    assert present.tolist() == [True, False, True, True, True]
    middles, _ = middle_and_width(landmarks[[0, 2, 4]])
    torch.testing.assert_close(middles, torch.tensor([[25.0, 40], [85, 100], [85, 100]]))


@pytest.mark.parametrize(
    ("value", "number", "boxes"),
    [
        ((1, 2, 30, 40), 0, [(1, 2, 30, 40)]),
        ({"x": 1, "y": 2, "width": 30, "height": 40, "label": "cat"}, 0, [(1, 2, 30, 40)]),
        (torch.tensor([1.0, 2, 30, 40]), 0, [(1, 2, 30, 40)]),
        (np.array([[1, 2, 30, 40], [3, 4, 30, 40]]), 0, [(1, 2, 30, 40), (3, 4, 30, 40)]),
        ([[1, 2, 30, 40]], 0, [(1, 2, 30, 40)]),
        ([{"x": 1, "y": 2, "width": 30, "height": 40}], 0, [(1, 2, 30, 40)]),
        (
            [[{"x": 9, "y": 9, "width": 9, "height": 9}, {"x": 1, "y": 2, "width": 30, "height": 40}], []],
            1,
            [(1, 2, 30, 40), None],
        ),
        ([[[9, 9, 9, 9], [1, 2, 30, 40]], [[9, 9, 9, 9], [3, 4, 5, 6]]], 1, [(1, 2, 30, 40), (3, 4, 5, 6)]),
    ],
)
def test_the_forms_that_people_and_nodes_hand_over_are_taken(value, number, boxes):
    assert FaceBoxes.parse(value, number).boxes == tuple(boxes)


def test_numbers_up_to_one_are_shares_of_the_frame():
    given = FaceBoxes.parse([0.25, 0.5, 0.5, 0.25])
    assert given.at(0, (200, 100)) == (50, 50, 150, 75)
    assert FaceBoxes.parse([25, 50, 50, 25]).at(0, (200, 100)) == (25, 50, 75, 75)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10,20,30,40", "a box is x, y, width, height"),
        ([1, 2, 3], "a box is x, y, width, height"),
        ([], "a box is x, y, width, height"),
        ({"x": 1, "y": 2, "w": 3, "h": 4}, "a box is x, y, width, height"),
        ([1, 2, 0, 4], "width and a height above 0"),
        ([1, 2, float("nan"), 4], "width and a height above 0"),
        ([[], []], "face 0 in one frame at least"),
        (None, "a box is x, y, width, height"),
        (torch.zeros(2, 5), "a box is x, y, width, height"),
    ],
)
def test_other_forms_are_refused_with_the_rule(value, message):
    with pytest.raises(SettingsError, match=message):
        FaceBoxes.parse(value)
