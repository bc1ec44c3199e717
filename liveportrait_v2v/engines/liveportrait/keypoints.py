"""Keypoint math of LivePortrait: rotations, and keypoints from canonical ones. Everything float32, in batch.

Keypoints [N, 21, 3] live in the crop, -1..1 from edge to edge: x right, y down, z away from the viewer. Rotations are
for row vectors: x' = x @ R.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F

from ...geometry import rotation_matrix

__all__ = ["hull_volume", "orthonormal", "rotation_matrix", "transform"]


def orthonormal(matrices: torch.Tensor) -> torch.Tensor:
    """Return the rotations nearest to means of rotations, [..., 3, 3]; zeros stay zeros.

    Two steps of Newton's iteration for the polar decomposition, scaled by Frobenius norms (Higham, "Computing the
    polar decomposition - with applications", 1986), bring the singular values together; then Gram and Schmidt's way
    makes rows orthonormal to rounding. Cross products of the rows stand for the inverse. A GPU is not waited for, as
    with a singular value decomposition. For a mean of turns 30 degrees apart the result is the nearest rotation to
    rounding, for one of turns 90 degrees apart within 1e-3.
    """
    for _ in range(2):
        inverse = torch.linalg.cross(
            matrices.roll(-1, -2), matrices.roll(-2, -2)
        )  # transposed, times the determinant
        matrices = _unit(matrices) + _unit(inverse)
    x, y, _ = matrices.unbind(-2)
    x = F.normalize(x, dim=-1)
    z = F.normalize(torch.linalg.cross(x, y), dim=-1)
    return torch.stack((x, torch.linalg.cross(z, x), z), dim=-2)


def _unit(matrices: torch.Tensor) -> torch.Tensor:
    """Divide matrices [..., 3, 3] by their Frobenius norms."""
    return F.normalize(matrices.flatten(-2), dim=-1).view(matrices.shape)


def transform(
    kp: torch.Tensor, rotation: torch.Tensor, exp: torch.Tensor, scale: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """Return x = s (x_c R + delta) + t without t's z (LivePortrait, eq. 2; its code drops t_z as well).

    Args:
        kp: canonical keypoints float32 [N, 21, 3].
        rotation: float32 [N, 3, 3].
        exp: expression delta, float32 [N, 21, 3].
        scale: float32 [N, 1].
        t: float32 [N, 3].

    Returns:
        float32 [N, 21, 3], a tensor of its own.
    """
    flat = F.pad(t[:, :2], (0, 1))
    return (kp @ rotation + exp) * scale.unsqueeze(-1) + flat.unsqueeze(1)


def hull_volume(points: torch.Tensor) -> torch.Tensor:
    """Volume of the convex hull of a few points [K, 3], exact but for rounding, float32 [] where the points are.

    Every triangle of points that has all others on one side belongs to the hull, and the pyramids from a point inside
    to those triangles fill it. Points are shifted by a billionth of their extent, each another way, so that no four
    lie in one plane and no face is counted twice. O(K^4): 0.6 ms for 21 points on a CPU.
    """
    # Apple's GPUs have no float64.
    places = (points.cpu() if points.device.type == "mps" else points).double()
    corners, shifts = _triangles_and_shifts(len(places), places.device)
    extent = (places.amax(0) - places.amin(0)).amax()
    places = places - places.mean(0) + 1e-9 * extent * shifts
    a, b, c = places[corners].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    pyramids = (normals * a).sum(1)
    sides = (normals @ places.T - pyramids.unsqueeze(1)).scatter_(1, corners, 0.0)
    on_hull = (sides >= 0).all(1) | (sides <= 0).all(1)
    return ((pyramids.abs() * on_hull).sum() / 6).float().to(points.device)


@lru_cache(maxsize=4)
def _triangles_and_shifts(count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all triples of `count` points, and a direction for each point."""
    corners = torch.combinations(torch.arange(count), 3)
    shifts = 2 * torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    return corners.to(device), shifts.to(device)
