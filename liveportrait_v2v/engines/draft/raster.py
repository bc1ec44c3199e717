"""Turning triangles into pixels in plain torch: for each pixel, the triangle in front."""

from __future__ import annotations

import torch


def rasterize(
    vertices: torch.Tensor, depth: torch.Tensor, triangles: torch.Tensor, size: int
) -> torch.Tensor:
    """The nearest triangle that covers each pixel's centre.

    Args:
        vertices: float32 [N, V, 2] in pixels of a picture of `size` pixels a side.
        depth: float32 [N, V], smaller is nearer.
        triangles: int64 [T, 3]; those with an area <= 0 (seen from behind) are left out.

    Returns:
        int64 [N, size, size]: index of a triangle, -1 where there is none.
    """
    n, count = len(vertices), len(triangles)
    device = vertices.device
    order = depth[:, triangles].mean(-1).argsort(dim=1, descending=True)  # far to near: a later one wins
    corners = vertices[torch.arange(n, device=device).view(n, 1, 1), triangles[order]].reshape(
        n * count, 3, 2
    )
    a, b, c = corners.unbind(1)
    area = cross(b - a, c - a)

    # Rows whose centre line (y + .5) meets the triangle.
    top = (corners[..., 1].amin(1) - 0.5).ceil().clamp_min(0)
    bottom = (corners[..., 1].amax(1) - 0.5).floor().clamp_max(size - 1)
    rows = (bottom - top + 1).clamp_min(0).long()
    rows[area <= 1e-9] = 0
    owner, y = _expand(rows, top.long())

    # Inside means edge functions p*x + q*y + r >= 0: in a row, an interval of x.
    edge = torch.stack((b - a, c - b, a - c), dim=1)
    p, q = -edge[..., 1], edge[..., 0]
    r = edge[..., 1] * corners[..., 0] - edge[..., 0] * corners[..., 1]
    slope, constant = torch.where(p == 0, torch.ones_like(p), p), q[owner] * (y + 0.5).unsqueeze(1) + r[owner]
    crossing = -constant / slope[owner]
    p = p[owner]
    left = torch.where(p > 0, crossing, torch.full_like(crossing, 0.0)).amax(1)
    right = torch.where(p < 0, crossing, torch.full_like(crossing, float(size))).amin(1)
    first = (left - 0.5 - 1e-4).ceil().clamp_min(0)
    pixels = ((right - 0.5 + 1e-4).floor().clamp_max(size - 1) - first + 1).clamp_min(0).long()

    span, pixel = _expand(pixels, (owner // count) * (size * size) + y * size + first.long())
    front = torch.full((n * size * size,), -1, dtype=torch.long, device=device)
    front.scatter_reduce_(0, pixel, owner.index_select(0, span), "amax")
    triangle = order.reshape(-1).index_select(0, front.clamp_min(0))
    return torch.where(front >= 0, triangle, front).view(n, size, size)


def planes(vertices: torch.Tensor, values: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Values [N, V, K] at the vertices as linear functions over each triangle: float32 [N, T, 3, K].

    A value at the place (x, y) is planes[0] * x + planes[1] * y + planes[2]. A triangle without area has its first
    corner's value.
    """
    a, b, c = vertices[:, triangles].unbind(2)
    va, vb, vc = values[:, triangles].unbind(2)
    area = cross(b - a, c - a).unsqueeze(-1)
    inverse = torch.where(area.abs() < 1e-9, torch.zeros_like(area), 1 / area)
    along_x = ((vb - va) * (c - a)[..., 1:] - (vc - va) * (b - a)[..., 1:]) * inverse
    along_y = ((vc - va) * (b - a)[..., :1] - (vb - va) * (c - a)[..., :1]) * inverse
    return torch.stack((along_x, along_y, va - along_x * a[..., :1] - along_y * a[..., 1:]), dim=2)


def fill(front: torch.Tensor, functions: torch.Tensor) -> torch.Tensor:
    """The functions [N, T, 3, K] of the triangle in front of each pixel [N, S, S], at the pixel's centre.

    Returns:
        float32 [N, K, S, S], 0 where no triangle is.
    """
    n, size = front.shape[:2]
    count, k = functions.shape[1], functions.shape[-1]
    index = front.clamp_min(0) + torch.arange(n, device=front.device).view(n, 1, 1) * count
    at = functions.reshape(n * count, 3 * k).index_select(0, index.view(-1)).view(n, size, size, 3, k)
    axis = torch.arange(size, device=front.device) + 0.5
    result = torch.addcmul(at[..., 2, :], at[..., 0, :], axis.view(1, 1, -1, 1))
    result.addcmul_(at[..., 1, :], axis.view(1, -1, 1, 1))
    result.mul_((front >= 0).unsqueeze(-1))
    return result.permute(0, 3, 1, 2)


def _expand(counts: torch.Tensor, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeats each index as often as its count says, beside first, first + 1, first + 2, … within each."""
    owner = torch.repeat_interleave(counts)
    base = first - (counts.cumsum(0) - counts)
    return owner, base.index_select(0, owner) + torch.arange(len(owner), device=counts.device)


def cross(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """z of the cross product of vectors [..., 2]."""
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
