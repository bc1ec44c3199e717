"""Rotations, and keypoints from canonical ones."""

from __future__ import annotations

import math

import pytest
import torch
from made_faces import rotation

from liveportrait_v2v.engines.liveportrait.keypoints import (
    hull_volume,
    orthonormal,
    rotation_matrix,
    transform,
)
from liveportrait_v2v.geometry import euler_angles


def turned(pitch: float = 0, yaw: float = 0, roll: float = 0) -> torch.Tensor:
    return rotation_matrix(*(torch.tensor([float(angle)]) for angle in (pitch, yaw, roll)))[0]


def test_each_turn_goes_the_published_way():
    toward = torch.tensor([0.0, 0.0, -1.0])
    torch.testing.assert_close(toward @ turned(pitch=30), torch.tensor([0, 0.5, -0.866]), atol=1e-3, rtol=0)
    torch.testing.assert_close(toward @ turned(yaw=30), torch.tensor([-0.5, 0, -0.866]), atol=1e-3, rtol=0)
    right = torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(right @ turned(roll=30), torch.tensor([0.866, 0.5, 0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("angles", [(10, 20, 30), (-40, 5, 70), (89, -30, -170)])
def test_pitch_acts_first_then_yaw_then_roll(angles):
    torch.testing.assert_close(turned(*angles), rotation(*angles), atol=1e-6, rtol=0)
    found = euler_angles(turned(*angles).unsqueeze(0))[0]
    torch.testing.assert_close(found, torch.tensor(angles, dtype=torch.float32), atol=1e-3, rtol=0)


def test_every_frame_has_its_own_rotation():
    angles = torch.tensor([10.0, 50.0])
    both = rotation_matrix(angles, angles, angles)
    torch.testing.assert_close(both[1], turned(50, 50, 50))


@pytest.mark.parametrize("apart", [5, 90, 165])
def test_the_mean_of_two_turns_becomes_the_turn_half_way(apart):
    mean = (turned(yaw=0) + turned(yaw=apart)) / 2
    torch.testing.assert_close(orthonormal(mean), turned(yaw=apart / 2), atol=1e-5, rtol=0)


def test_a_rotation_stays_what_it_is():
    torch.testing.assert_close(orthonormal(turned(20, 30, 40)), turned(20, 30, 40), atol=1e-6, rtol=0)


def nearest_rotation(matrices: torch.Tensor) -> torch.Tensor:
    """By singular value decomposition, as in the textbook."""
    u, _, v = torch.linalg.svd(matrices.double())
    return (u @ v).float()


@pytest.mark.parametrize(("apart", "error"), [(5, 1e-6), (30, 1e-6), (60, 1e-4), (90, 1e-3)])
def test_the_mean_of_turns_becomes_the_nearest_rotation(apart, error):
    angles = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)) * 120 - 60
    change = torch.nn.functional.normalize(
        torch.randn(3, 200, generator=torch.Generator().manual_seed(1)), dim=0
    )
    first, second = rotation_matrix(*angles), rotation_matrix(*(change * apart))
    means = torch.lerp(first, first @ second, 0.3)
    torch.testing.assert_close(orthonormal(means), nearest_rotation(means), atol=error, rtol=0)


@pytest.mark.parametrize("apart", [1, 45, 90, 150, 175])
def test_what_is_made_orthonormal_is_a_rotation_to_rounding(apart):
    angles = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)) * apart - apart / 2
    turns = orthonormal((rotation_matrix(*angles) + torch.eye(3)) / 2)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(200, 3, 3), atol=1e-6, rtol=0)
    assert (torch.linalg.det(turns) > 0).all()


def test_rotations_stay_what_they_are_to_rounding():
    angles = torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) * 180 - 90
    turns = rotation_matrix(*angles)
    torch.testing.assert_close(orthonormal(turns), turns, atol=6e-7, rtol=0)


def test_frames_without_a_face_which_are_zeros_stay_zeros():
    assert torch.equal(orthonormal(torch.zeros(2, 3, 3)), torch.zeros(2, 3, 3))


def test_keypoints_are_turned_shifted_by_the_expression_scaled_and_moved():
    make = torch.Generator().manual_seed(0)
    kp, exp = torch.randn(2, 3, 21, 3, generator=make)
    t, scale = torch.randn(3, 3, generator=make), torch.rand(3, 1, generator=make) + 0.5
    turns = torch.stack([turned(10 * k, 20, 5) for k in range(3)])
    x = transform(kp, turns, exp, scale, t)
    for n in range(3):
        for k in range(21):
            wanted = scale[n] * (kp[n, k] @ turns[n] + exp[n, k]) + torch.tensor([t[n, 0], t[n, 1], 0.0])
            torch.testing.assert_close(x[n, k], wanted)


def test_the_translation_that_is_given_keeps_its_z():
    t = torch.ones(1, 3)
    transform(torch.zeros(1, 21, 3), torch.eye(3)[None], torch.zeros(1, 21, 3), torch.ones(1, 1), t)
    assert torch.equal(t, torch.ones(1, 3))


def test_the_hull_of_a_cube_and_points_in_it_is_the_cube():
    axis = torch.tensor([0.0, 2.0])
    cube = torch.cartesian_prod(axis, axis, axis)
    inside = 2 * torch.rand(13, 3, generator=torch.Generator().manual_seed(0))
    assert hull_volume(cube) == pytest.approx(8, rel=1e-6)
    assert hull_volume(torch.cat((inside, cube))) == pytest.approx(8, rel=1e-6)


def test_the_hull_of_an_octahedron_and_of_a_tetrahedron():
    octahedron = torch.cat((torch.eye(3), -torch.eye(3)))
    assert hull_volume(octahedron) == pytest.approx(4 / 3, rel=1e-6)
    assert hull_volume(torch.cat((torch.zeros(1, 3), torch.eye(3)))) == pytest.approx(1 / 6, rel=1e-6)


def test_the_hull_agrees_with_points_thrown_at_it():
    """Of points in the box around 21 keypoints, as many lie in their hull as its volume says."""
    make = torch.Generator().manual_seed(1)
    points = torch.randn(21, 3, generator=make)
    thrown = points.amin(0) + torch.rand(4000, 3, generator=make) * (points.amax(0) - points.amin(0))
    # A point is in the hull if, seen from it, the points lie on all sides: no direction has all of them behind it.
    directions = torch.nn.functional.normalize(torch.randn(6000, 3, generator=make), dim=-1)
    reach = (points @ directions.T).amax(0)
    inside = ((thrown @ directions.T) <= reach).all(1).float().mean()
    box = math.prod((points.amax(0) - points.amin(0)).tolist())
    assert hull_volume(points) == pytest.approx(inside.item() * box, rel=0.1)


def test_the_volume_does_not_change_with_place_and_turn():
    points = torch.randn(21, 3, generator=torch.Generator().manual_seed(2))
    moved = points @ turned(30, 40, 50) + torch.tensor([1.0, 2.0, 3.0])
    assert hull_volume(moved) == pytest.approx(hull_volume(points).item(), rel=1e-5)
