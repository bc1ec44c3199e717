"""The mesh that carries the warp: the face mesh, and rings of vertices from its outline to the crop's border."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch

from ...faces import topology
from ...faces.canonical import canonical_face

EDGE_SHARES = (1.0, 0.7, 0.35)
"""Nearness to the outline of landmarks on it, one and two edges from it."""
# Where the rings lie between the face's outline (0) and the border (1).
RING_PLACES = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class WarpMesh:
    """Vertices and triangles of the mesh.

    Vertices 0..467 are the landmarks without the irises; then come the rings, inner ring first, each with the 36
    vertices of `topology.OVAL` in its order.

    Attributes:
        triangles: int64 [T, 3], wound so that a triangle seen from the front has a positive area (y down).
        outer: bool [T], triangles of the rings.
        edge: float32 [468], how near a landmark is to the outline: 1 on it, down to 0.
        edge_triangles: int64 [E, 3], triangles of the face at these landmarks, wound the other way.
    """

    triangles: torch.Tensor
    outer: torch.Tensor
    edge: torch.Tensor
    edge_triangles: torch.Tensor

    @cached_property
    def outer_triangles(self) -> torch.Tensor:
        """The triangles of the rings, int64 [R, 3]."""
        return self.triangles[self.outer]


@lru_cache(maxsize=1)
def warp_mesh() -> WarpMesh:
    """Return the mesh, on the CPU. Shared: do not write into its tensors."""
    face = canonical_face().triangles.flip(1)
    rings = torch.tensor(_ring_triangles())
    outer = torch.cat((torch.zeros(len(face), dtype=torch.bool), torch.ones(len(rings), dtype=torch.bool)))
    edge = _edge(face)
    return WarpMesh(torch.cat((face, rings)), outer, edge, face[(edge[face] > 0).any(1)].flip(1))


def _edge(triangles: torch.Tensor) -> torch.Tensor:
    """Return the landmarks' nearness to the outline, by the number of edges between."""
    edge = torch.zeros(468)
    reached = torch.zeros(468, dtype=torch.bool)
    reached[list(topology.OVAL)] = True
    for share in EDGE_SHARES:
        edge[reached & (edge == 0)] = share
        touched = triangles[reached[triangles].any(1)]
        reached[touched.flatten()] = True
    return edge


def _ring_triangles() -> list[tuple[int, int, int]]:
    count = len(topology.OVAL)
    rows = [list(topology.OVAL)]
    rows += [list(range(468 + j * count, 468 + (j + 1) * count)) for j in range(len(RING_PLACES))]
    triangles = []
    for inner, outer in pairwise(rows):
        for k in range(count):
            a, b, c, d = inner[k], inner[(k + 1) % count], outer[k], outer[(k + 1) % count]
            triangles += [(a, c, d), (a, d, b)]
    return triangles
