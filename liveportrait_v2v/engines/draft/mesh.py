"""The mesh that carries the warp: the face mesh, and rings of vertices from its outline to the crop's border."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch

from ...faces import topology
from ...faces.canonical import canonical_face

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
    """

    triangles: torch.Tensor
    outer: torch.Tensor


@lru_cache(maxsize=1)
def warp_mesh() -> WarpMesh:
    """Return the mesh, on the CPU. Shared: do not write into its tensors."""
    face = canonical_face().triangles.flip(1)
    rings = torch.tensor(_ring_triangles())
    outer = torch.cat((torch.zeros(len(face), dtype=torch.bool), torch.ones(len(rings), dtype=torch.bool)))
    return WarpMesh(torch.cat((face, rings)), outer)


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
