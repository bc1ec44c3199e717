"""Rasterization of triangles in plain torch: for each pixel, the triangle in front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

AROUND_NODES = (-1, 0, 1)
"""Nodes beside a place, along rows and columns, whose triangles may cover it."""
BRIDGED_NODES = 0.35
"""Distance from a triangle that counts as covered by it: no node may see a narrow one beside it."""


@dataclass(frozen=True)
class Surface:
    """N meshes of triangles on a grid, with values of a place on each triangle.

    Attributes:
        vertices: float32 [N, V, 2] in nodes of the grid.
        depth: float32 [N, V], smaller is nearer.
        triangles: int64 [T, 3].
        front: int64 [N, S, S], as `rasterize` returns it.
        functions: float32 [N, T, 3, K], as `planes` returns them.
    """

    vertices: torch.Tensor
    depth: torch.Tensor
    triangles: torch.Tensor
    front: torch.Tensor
    functions: torch.Tensor

    @classmethod
    def of(
        cls,
        vertices: torch.Tensor,
        depth: torch.Tensor,
        values: torch.Tensor,
        triangles: torch.Tensor,
        size: int,
    ) -> Surface:
        """Rasterize meshes with values [N, V, K] of their vertices on a grid of `size` nodes a side."""
        front = rasterize(vertices, depth, triangles, size)
        return cls(vertices, depth, triangles, front, planes(vertices, values, triangles))

    def at_nodes(self) -> torch.Tensor:
        """Return the values at the grid's nodes, float32 [N, K, S, S]."""
        return fill(self.front, self.functions)

    def at(self, mesh: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the values [P, M, K] at groups of M places [P, M, 2] of meshes [P], in nodes.

        Of the triangles that are in front at the nodes around a group, the nearest that covers a place counts, and
        where none does, the one that is least beside it: edges between triangles run between nodes.
        """
        size, reach = self.front.shape[-1], torch.tensor(AROUND_NODES, device=places.device)
        middle = places.mean(1).long()
        columns, rows = (
            (middle.unsqueeze(1) + torch.cartesian_prod(reach, reach)).clamp_(0, size - 1).unbind(-1)
        )
        mesh = mesh.unsqueeze(1)
        found = self.front[mesh, rows, columns].clamp_max_(len(self.triangles) - 1)
        edges, depth = self._edges
        ones = torch.cat((places, torch.ones_like(places[..., :1])), dim=-1).mT
        inside = torch.bmm(edges[mesh, found].flatten(1, 2), ones).unflatten(1, (-1, 3)).amin(2)
        covers = inside > -BRIDGED_NODES
        nearest = torch.where(covers, 1 / BRIDGED_NODES - depth[mesh, found].unsqueeze(2), inside).argmax(1)
        x, y, base = self.functions[mesh, found.gather(1, nearest)].unbind(2)
        return x * places[..., :1] + y * places[..., 1:] + base

    def __getitem__(self, part: slice) -> Surface:
        """Return some of the meshes."""
        return Surface(
            self.vertices[part], self.depth[part], self.triangles, self.front[part], self.functions[part]
        )

    @cached_property
    def _edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances inwards from triangles' edges, as functions of a place [N, T, 3, 3], and depths in 0..1, [N, T]."""
        corners = _corners(self.vertices, self.triangles)
        way = torch.nn.functional.normalize(corners.roll(-1, 2) - corners, dim=-1)
        inwards = torch.stack((-way[..., 1], way[..., 0]), dim=-1)
        edges = torch.cat((inwards, -(inwards * corners).sum(-1, keepdim=True)), dim=-1)
        depth = _corners(self.depth, self.triangles).mean(-1)
        low, high = depth.aminmax(dim=1, keepdim=True)
        return edges, (depth - low) / (high - low).clamp_min(1e-6)


def rasterize(
    vertices: torch.Tensor, depth: torch.Tensor, triangles: torch.Tensor, size: int
) -> torch.Tensor:
    """Find the nearest triangle that covers each pixel's centre.

    Args:
        vertices: float32 [N, V, 2] in pixels of a picture of `size` pixels a side.
        depth: float32 [N, V], smaller is nearer.
        triangles: int64 [T, 3]; those with an area <= 0 (seen from behind) are left out.

    Returns:
        int64 [N, size, size]: index of a triangle, T where there is none.
    """
    n, count = len(vertices), len(triangles)
    device = vertices.device
    # Far to near: of those that meet in a pixel the last one wins.
    order = _corners(depth, triangles).mean(-1).argsort(dim=1, descending=True)
    a, b, c = (
        part.gather(1, order.unsqueeze(-1).expand(-1, -1, 2)).view(-1, 2)
        for part in _corners(vertices, triangles).unbind(2)
    )
    top, bottom = torch.stack((a[:, 1], b[:, 1], c[:, 1])).aminmax(dim=0)
    # Rows whose centre line (y + .5) meets the triangle.
    top = (top - 0.5).ceil().clamp_min(0)
    rows = ((bottom - 0.5).floor().clamp_max(size - 1) - top + 1).clamp_min(0).int()
    rows[cross(b - a, c - a) <= 1e-9] = 0
    owner, y = _expand(rows, top.int())

    # Inside means edge functions p*x + q*y + r >= 0: in a row, an interval of x.
    start = torch.stack((a, b, c), dim=1)
    edge = torch.stack((b, c, a), dim=1) - start
    p, q = -edge[..., 1], edge[..., 0]
    r = edge[..., 1] * start[..., 0] - edge[..., 0] * start[..., 1]
    slope = torch.where(p == 0, torch.ones_like(p), p)
    # Each edge crosses the row at step * (y + .5) + base; one that does not bound the interval there is out of the way.
    step, base = -q / slope, -r / slope
    begins, ends = p > 0, p < 0
    bounds = (step * begins, base * begins, step * ends, torch.where(ends, base, float(size)))
    lines = torch.cat(bounds, dim=1).index_select(0, owner).view(-1, 4, 3)
    center = (y + 0.5).unsqueeze(1)
    left = torch.addcmul(lines[:, 1], lines[:, 0], center).amax(1)
    right = torch.addcmul(lines[:, 3], lines[:, 2], center).amin(1)
    first = (left - 0.5 - 1e-4).ceil().clamp_min(0)
    pixels = ((right - 0.5 + 1e-4).floor().clamp_max(size - 1) - first + 1).clamp_min(0).int()

    span, pixel = _expand(pixels, (owner // count) * (size * size) + y * size + first.int())
    front = torch.zeros(n * size * size, dtype=torch.int32, device=device)
    front.scatter_reduce_(0, pixel.long(), (owner + 1).index_select(0, span), "amax")
    names = torch.cat((order.new_tensor([count]), order.view(-1)))
    return names.index_select(0, front).view(n, size, size)


def planes(vertices: torch.Tensor, values: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Return values [N, V, K] of the vertices as linear functions over each triangle: float32 [N, T, 3, K].

    A value at the place (x, y) is planes[0] * x + planes[1] * y + planes[2]. A triangle without area has its first
    corner's value.
    """
    a, b, c = _corners(vertices, triangles).unbind(2)
    va, vb, vc = _corners(values, triangles).unbind(2)
    area = cross(b - a, c - a).unsqueeze(-1)
    inverse = torch.where(area.abs() < 1e-9, torch.zeros_like(area), 1 / area)
    along_x = ((vb - va) * (c - a)[..., 1:] - (vc - va) * (b - a)[..., 1:]) * inverse
    along_y = ((vc - va) * (b - a)[..., :1] - (vb - va) * (c - a)[..., :1]) * inverse
    return torch.stack((along_x, along_y, va - along_x * a[..., :1] - along_y * a[..., 1:]), dim=2)


def fill(front: torch.Tensor, functions: torch.Tensor) -> torch.Tensor:
    """Return the functions [N, T, 3, K] of the triangle in front of each pixel [N, S, S], at the pixel's centre.

    Returns:
        float32 [N, K, S, S], 0 where no triangle is.
    """
    n, size = front.shape[:2]
    count, k = functions.shape[1], functions.shape[-1]
    functions = torch.cat((functions, functions.new_zeros(n, 1, 3, k)), dim=1)
    index = (front + torch.arange(n, device=front.device).view(n, 1, 1) * (count + 1)).view(-1)
    axis = torch.arange(size, device=front.device) + 0.5
    result = functions.new_empty(n, k, size, size)
    # Value by value, each of them along the rows: half as long again with all values of a pixel together.
    for value, out in zip(functions.permute(3, 2, 0, 1).reshape(k, 3, -1), result.unbind(1), strict=True):
        x, y, base = (part.index_select(0, index).view(n, size, size) for part in value)
        torch.addcmul(base, x, axis, out=out)
        out.addcmul_(y, axis.unsqueeze(1))
    return result


def _corners(values: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Return the values [N, V, ...] of each triangle's corners: [N, T, 3, ...]."""
    return values.index_select(1, triangles.view(-1)).unflatten(1, (-1, 3))


def _expand(counts: torch.Tensor, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each index, repeated by its count, and the running numbers first, first + 1, … of each; int32."""
    owner = torch.repeat_interleave(counts)
    base = first - (counts.cumsum(0, dtype=torch.int32) - counts)
    return owner, base.index_select(0, owner) + torch.arange(
        len(owner), dtype=torch.int32, device=counts.device
    )


def cross(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return z of the cross product of vectors [..., 2]."""
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
