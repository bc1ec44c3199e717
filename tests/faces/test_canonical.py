"""The canonical face has the axes and the order of points of the tracked landmarks."""

from __future__ import annotations

import torch

from liveportrait_v2v.faces import canonical_face

NOSE_TIP, FOREHEAD, CHIN, RIGHT_EYE, LEFT_EYE = 1, 10, 152, 33, 263


def test_it_is_a_face_of_human_size_in_centimetres():
    face = canonical_face()
    assert face.vertices.shape == (468, 3)
    assert face.weights.shape == (468,)
    assert face.triangles.shape == (898, 3)
    width, height, _ = (face.vertices.amax(0) - face.vertices.amin(0)).tolist()
    assert 14 < width < 18
    assert 16 < height < 20


def test_x_points_right_y_down_and_z_away_from_the_viewer():
    points = canonical_face().vertices
    assert points[RIGHT_EYE, 0] < 0 < points[LEFT_EYE, 0]
    assert points[FOREHEAD, 1] < points[RIGHT_EYE, 1] < points[CHIN, 1]
    assert points[NOSE_TIP, 2] < points[RIGHT_EYE, 2]


def test_its_triangles_use_every_vertex():
    assert torch.equal(canonical_face().triangles.unique(), torch.arange(468))


def test_a_tracked_face_fits_it_by_a_turn_and_a_scale_without_a_mirror(frames, tracked):
    face = canonical_face()
    landmarks = tracked(frames("astronaut")).landmarks[0, 0, :468]
    weights = face.weights / face.weights.sum()
    a = face.vertices - weights @ face.vertices
    b = landmarks - weights @ landmarks
    u, s, vt = torch.linalg.svd((a * weights[:, None]).T @ b)
    assert torch.linalg.det(u @ vt) > 0
    scale = s.sum() / (weights[:, None] * a**2).sum()
    residual = (weights @ ((a @ u @ vt) * scale - b).norm(dim=1)) / scale
    assert residual < 0.6  # centimetres, on average over the points that a pose is fitted to
