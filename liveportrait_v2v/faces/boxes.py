"""Places of faces: boxes as (x0, y0, x1, y1) in frame pixels, distances between them, and circles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

Box = tuple[float, float, float, float]


def centre(box: Sequence[float]) -> tuple[float, float]:
    """Return a box's centre."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def side(box: Sequence[float]) -> float:
    """Return the geometric mean of width and height, as the size of a face."""
    return math.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))


def shifted(box: Sequence[float], dx: float, dy: float) -> Box:
    """Return a box moved by (dx, dy)."""
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Return how far apart two boxes are as places of one face: centre distance in face sizes plus octaves of size."""
    size_a, size_b = max(side(a), 1e-6), max(side(b), 1e-6)
    (ax, ay), (bx, by) = centre(a), centre(b)
    return math.hypot(ax - bx, ay - by) / max(size_a, size_b) + abs(math.log2(size_a / size_b))


def circles(landmarks: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the middle x and y of each face's box and half its longer side, float32 [..., 3] in pixels.

    Args:
        landmarks: float32 [..., K, 3] in pixels.
        present: bool [...]; where it is False, the radius is 0.
    """
    low, high = landmarks[..., :2].aminmax(dim=-2)
    radius = (high - low).amax(-1, keepdim=True) / 2 * present.unsqueeze(-1)
    return torch.cat(((low + high) / 2, radius), dim=-1)


ORDERS = {
    "large-small": lambda box: -side(box),
    "small-large": side,
    "left-right": lambda box: box[0],
    "right-left": lambda box: -box[2],
    "top-bottom": lambda box: box[1],
    "bottom-top": lambda box: -box[3],
}
"""Sort keys of the orders in which faces get their numbers: by size, or by the edge named first."""
