"""Landmarks of known pose, place, size and openings, made from the canonical face, and pictures for them."""

from __future__ import annotations

import math

import torch

from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.faces import topology
from liveportrait_v2v.faces.canonical import canonical_face

HEIGHT, WIDTH = 300, 360  # of pictures


def rotation(pitch: float = 0, yaw: float = 0, roll: float = 0) -> torch.Tensor:
    """Row-vector rotation [3, 3] by angles in degrees, pitch first."""
    (cx, sx), (cy, sy), (cz, sz) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (pitch, yaw, roll)
    )
    rx = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (rz @ ry @ rx).T


def head(drop: float = 0.0, lids: float = 1.0, gaze: float = 0.0) -> torch.Tensor:
    """A face in head coordinates, float32 [478, 3].

    Args:
        drop: way of the lower lip and the jaw down from closed lips, in centimetres.
        lids: opening of the eyes, 1 = as the canonical face's.
        gaze: shift of the irises to the right, in widths of the eye.
    """
    vertices = canonical_face().vertices
    shape = torch.zeros(478, 3)
    shape[:468] = vertices
    for upper, lower, iris in face.EYES:
        shape[list(upper[1:-1]), 1] += (1 - lids) * (
            vertices[list(lower[1:-1]), 1] - vertices[list(upper[1:-1]), 1]
        )
        corners = vertices[[upper[0], upper[-1]]]
        width = (corners[1] - corners[0]).norm()
        shape[list(iris)] = corners.mean(0) + torch.tensor([gaze * width, 0.0, 0.0])
    shape = face.close_lips(shape.unsqueeze(0), 0.0)
    profile = torch.tensor([0, 0.4, 0.7, 0.9, 1, 1, 1, 0.9, 0.7, 0.4, 0]) * drop
    return face.move_lips(shape, profile.unsqueeze(0))[0]


def landmarks(
    *,
    at: tuple[float, float] = (160.0, 120.0),
    size: float = 6.0,
    pitch: float = 0,
    yaw: float = 0,
    roll: float = 0,
    drop: float = 0.0,
    lids: float = 1.0,
    gaze: float = 0.0,
) -> torch.Tensor:
    """Landmarks float32 [478, 3] in pixels; `size` is pixels a centimetre (a face is about 15 cm wide)."""
    shape = head(drop, lids, gaze)
    return shape @ rotation(pitch, yaw, roll) * size + torch.tensor([*at, 0.0])


UPPER_LIP, LOWER_LIP = topology.LIP_INNER_UPPER[5], topology.LIP_INNER_LOWER[5]


def picture(n: int = 1) -> torch.Tensor:
    """Pictures uint8 [n, HEIGHT, WIDTH, 3] in smooth skin-like colours that differ at every place."""
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    colors = torch.stack((0.75 + 0.2 * x, 0.45 + 0.3 * y, 0.4 + 0.15 * torch.sin(9 * x + 5 * y)), dim=-1)
    return (colors * 255).to(torch.uint8).expand(n, -1, -1, -1).contiguous()
