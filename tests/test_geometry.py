"""Crop squares, poses and their inverses."""

from __future__ import annotations

import pytest
import torch
from made_faces import head, landmarks, rotation

from liveportrait_v2v.faces import topology
from liveportrait_v2v.geometry import crop_square, euler_angles, face_axes, face_crop, fit_pose
from liveportrait_v2v.settings import AnimationSettings


@pytest.fixture
def face():
    """One tilted face, [1, 478, 3]."""
    return landmarks(at=(200, 150), roll=20, yaw=10).unsqueeze(0)


@pytest.mark.parametrize("size", [64, 333, 512, 2048])
def test_the_two_matrices_of_a_crop_undo_each_other(face, size):
    square = crop_square(face, scale=2.3, vx_ratio=0.2, vy_ratio=-0.125)
    product = square.m_o2c(size) @ square.m_c2o(size)
    torch.testing.assert_close(product, torch.eye(3).unsqueeze(0), atol=2e-4, rtol=0)


@pytest.mark.parametrize("size", [64, 512])
def test_matrices_and_point_functions_agree(face, size):
    square = crop_square(face, scale=2.3)
    points = face[..., :2]
    flat = torch.cat((points, torch.ones_like(points[..., :1])), dim=-1) @ square.m_o2c(size).mT
    torch.testing.assert_close(square.to_crop(points, size), flat[..., :2], atol=2e-3, rtol=0)
    torch.testing.assert_close(square.to_frame(square.to_crop(points, size), size), points, atol=1e-3, rtol=0)


def test_scale_is_the_square_over_the_longer_side_of_the_face(face):
    points = (face[:, topology.CROP_POINTS, :2] @ face_axes(face).mT)[0]
    extent = points.amax(0) - points.amin(0)
    assert crop_square(face, scale=2.3).side.item() == pytest.approx(2.3 * extent.max().item(), rel=1e-5)


def test_the_box_has_chin_and_brows_and_no_forehead():
    face = landmarks()
    top = face[list(topology.CROP_POINTS), 1].min()
    assert face[10, 1] < face[list(topology.LEFT_BROW), 1].min() == top
    assert face[list(topology.CROP_POINTS), 1].max() == face[152, 1]


def test_without_shift_the_square_is_centred_on_the_box():
    face = landmarks(at=(100, 100)).unsqueeze(0)
    points = face[0, list(topology.CROP_POINTS), :2]
    middle = (points.amax(0) + points.amin(0)) / 2
    torch.testing.assert_close(crop_square(face, scale=2.3).center[0], middle, atol=0.2, rtol=0)


@pytest.mark.parametrize(("name", "axis"), [("vx_ratio", 0), ("vy_ratio", 1)])
def test_a_ratio_moves_the_crop_along_the_faces_own_axis_by_a_share_of_its_side(face, name, axis):
    still, moved = crop_square(face, scale=2.3), crop_square(face, scale=2.3, **{name: 0.25})
    shift = moved.center - still.center
    torch.testing.assert_close(shift, 0.25 * still.side * still.axes[:, axis], atol=1e-3, rtol=0)


def test_a_negative_vy_ratio_moves_the_crop_up():
    face = landmarks().unsqueeze(0)
    assert crop_square(face, scale=2, vy_ratio=-0.2).center[0, 1] < crop_square(face, scale=2).center[0, 1]


def test_the_square_turns_with_the_face():
    axes = crop_square(landmarks(roll=30).unsqueeze(0), scale=2.3).axes[0]
    angle = torch.rad2deg(torch.atan2(axes[0, 1], axes[0, 0]))
    assert angle.item() == pytest.approx(30, abs=1)


def test_without_rotation_the_square_is_upright_with_the_same_centre_and_side(face):
    turned, upright = crop_square(face, scale=2.3), crop_square(face, scale=2.3, rotate=False)
    assert torch.equal(upright.axes[0], torch.eye(2))
    assert torch.equal(upright.center, turned.center)
    assert torch.equal(upright.side, turned.side)


def test_eyes_and_lips_in_one_place_give_the_pictures_own_axes():
    assert torch.equal(face_axes(torch.full((1, 478, 3), 50.0))[0], torch.eye(2))


def test_the_settings_give_the_crop(face):
    settings = AnimationSettings(scale=1.7, vx_ratio=0.1, vy_ratio=0.2)
    given, wanted = face_crop(face, settings), crop_square(face, scale=1.7, vx_ratio=0.1, vy_ratio=0.2)
    assert torch.equal(given.center, wanted.center)
    assert torch.equal(given.side, wanted.side)


def test_corners_go_clockwise_from_the_top_left():
    square = crop_square(landmarks(at=(100, 100)).unsqueeze(0), scale=2, rotate=False)
    left, top = (square.center - square.side / 2)[0].tolist()
    right, bottom = (square.center + square.side / 2)[0].tolist()
    wanted = torch.tensor([[left, top], [right, top], [right, bottom], [left, bottom]])
    torch.testing.assert_close(square.corners()[0], wanted)


def test_every_frame_has_its_own_square():
    faces = torch.stack([landmarks(at=(100, 100)), landmarks(at=(200, 90), size=4, roll=15)])
    both, second = crop_square(faces, scale=2), crop_square(faces[1:], scale=2)
    torch.testing.assert_close(both[1:].center, second.center)
    torch.testing.assert_close(both[1:].side, second.side)


def test_a_pose_is_found_again():
    wanted = rotation(pitch=12, yaw=-25, roll=8)
    points = (head() @ wanted * 5.5 + torch.tensor([40.0, 60.0, 3.0])).unsqueeze(0)
    pose = fit_pose(points, head())
    torch.testing.assert_close(pose.rotation[0], wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(pose.scale, torch.tensor([5.5]), atol=1e-4, rtol=0)
    torch.testing.assert_close(pose.translation, torch.tensor([[40.0, 60.0, 3.0]]), atol=1e-3, rtol=0)


def test_undoing_a_pose_gives_the_shape_back(face):
    pose = fit_pose(face, head())
    torch.testing.assert_close(pose.apply(pose.undo(face)), face, atol=1e-3, rtol=0)


def test_a_mirrored_shape_is_never_taken_for_a_rotation():
    mirrored = head() * torch.tensor([-1.0, 1.0, 1.0])
    pose = fit_pose(mirrored.unsqueeze(0), head())
    assert torch.det(pose.rotation).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("angles", [(0, 0, 0), (10, 20, 30), (-15, 5, -40)])
def test_angles_of_a_rotation_are_the_ones_it_was_made_of(angles):
    found = euler_angles(rotation(*angles).unsqueeze(0))[0]
    torch.testing.assert_close(found, torch.tensor(angles, dtype=torch.float32), atol=1e-3, rtol=0)


def test_axes_of_rotation_are_liveportraits():
    turn = {name: torch.tensor([0.0, 0.0, -1.0]) @ rotation(**{name: 30}) for name in ("pitch", "yaw")}
    torch.testing.assert_close(turn["pitch"], torch.tensor([0, 0.5, -0.866]), atol=1e-3, rtol=0)
    torch.testing.assert_close(turn["yaw"], torch.tensor([-0.5, 0, -0.866]), atol=1e-3, rtol=0)
    right = torch.tensor([1.0, 0.0, 0.0]) @ rotation(roll=30)
    torch.testing.assert_close(right, torch.tensor([0.866, 0.5, 0]), atol=1e-3, rtol=0)
