"""Corners of the mouth and brows: what the feedback moves besides openings, with the skin around.

Both sides go together: what the landmark network makes of one alone trembles, and would make mouths lopsided.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ...faces import topology
from ...faces.canonical import canonical_face
from ...tensors import taken
from . import face

CORNERS = tuple((topology.LIP_OUTER_UPPER[end], topology.LIP_INNER_UPPER[end]) for end in (0, -1))
BROWS = (topology.LEFT_BROW, topology.RIGHT_BROW)
"""Landmarks of the left and the right one."""


@dataclass(frozen=True)
class HandleParameters:
    """How far skin goes along with a handle. Distances are in centimetres of the canonical face.

    Attributes:
        corner: distance from a corner of the mouth at which its motion falls to 1 / e.
        nose: share of that which the nose follows.
        brow: the distances above and below a brow.
    """

    corner: float = 1.6
    nose: float = 0.2
    brow: tuple[float, float] = (1.6, 0.75)


HANDLES = HandleParameters()
"""Read once a process: the weights by it are cached."""


def handle_places(shape: torch.Tensor) -> torch.Tensor:
    """Return where the handles of shapes [N, 478, 3] in head coordinates are, in cm: float32 [N, 3].

    They are half the distance between the corners of the mouth, the height of both, and that of both brows.
    """
    corners, brows = (
        torch.stack([taken(shape, numbers)[..., :2].mean(1) for numbers in sides], dim=1)
        for sides in (CORNERS, BROWS)
    )
    half_width = corners[:, :, 0].diff(dim=1).squeeze(1) / 2
    return torch.stack((half_width, -corners[:, :, 1].mean(1), -brows[:, :, 1].mean(1)), dim=1)


def move_handles(shape: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
    """Move the handles of shapes [N, 478, 3] in head coordinates by ways [N, 3]."""
    shape = shape.clone()
    shape[:, :468, :2] += torch.einsum("nh,hvc->nvc", ways, _fields().to(shape.device))
    return shape


@lru_cache(maxsize=1)
def _fields() -> torch.Tensor:
    """Return the way of each vertex by 1 cm of each handle, float32 [3, 468, 2]."""
    vertices = canonical_face().vertices[:, :2]
    corners = []
    for numbers in CORNERS:
        away = (vertices - vertices[list(numbers)].mean(0)) / HANDLES.corner
        corners.append(torch.exp(-away.square().sum(1)))
    left, right = corners
    fields = torch.zeros(3, len(vertices), 2)
    fields[0, :, 0] = right - left
    fields[1, :, 1] = -(right + left)
    fields[:, list(topology.NOSE)] *= HANDLES.nose
    fields[2, :, 1] = -face.brow_weights(*HANDLES.brow)
    return fields
