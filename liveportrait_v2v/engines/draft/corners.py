"""Corners of the mouth: what the feedback moves besides openings and the head, with the skin around.

Both go together: what the landmark network makes of one alone trembles, and would make mouths lopsided.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ...faces import topology
from ...faces.canonical import canonical_face
from ...tensors import taken

CORNER_POINTS = tuple((topology.LIP_OUTER_UPPER[end], topology.LIP_INNER_UPPER[end]) for end in (0, -1))
"""Landmarks of the left and the right corner."""


@dataclass(frozen=True)
class CornerMotionParameters:
    """How far skin goes along with a corner.

    Attributes:
        reach: distance, in centimetres of the canonical face, at which its motion falls to 1 / e.
        nose: share of that which the nose follows.
    """

    reach: float = 1.6
    nose: float = 0.2


CORNER_MOTION = CornerMotionParameters()
"""Read once a process: the fields by it are cached."""


def corner_places(shape: torch.Tensor) -> torch.Tensor:
    """Return half the distance between the corners and their height, in cm, of shapes [N, 478, 3]: float32 [N, 2].

    Args:
        shape: in head coordinates.
    """
    corners = torch.stack([taken(shape, numbers)[..., :2].mean(1) for numbers in CORNER_POINTS], dim=1)
    return torch.stack((corners[:, :, 0].diff(dim=1).squeeze(1) / 2, -corners[:, :, 1].mean(1)), dim=1)


def move_corners(shape: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
    """Move the corners of shapes [N, 478, 3] in head coordinates outwards and upwards by ways [N, 2] in cm."""
    shape = shape.clone()
    shape[:, :468, :2] += torch.einsum("nk,kvc->nvc", ways, _fields().to(shape.device))
    return shape


@lru_cache(maxsize=1)
def _fields() -> torch.Tensor:
    """Return the way of each vertex by 1 cm outwards and by 1 cm upwards, float32 [2, 468, 2]."""
    vertices = canonical_face().vertices[:, :2]
    left, right = (
        torch.exp(-((vertices - vertices[list(numbers)].mean(0)) / CORNER_MOTION.reach).square().sum(1))
        for numbers in CORNER_POINTS
    )
    fields = torch.zeros(2, len(vertices), 2)
    fields[0, :, 0] = right - left
    fields[1, :, 1] = -(right + left)
    fields[:, list(topology.NOSE)] *= CORNER_MOTION.nose
    return fields
