"""Where ComfyUI's front end draws the wires of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple


class Wire(NamedTuple):
    """A link: the ids of its nodes, and its ends in the graph's pixels."""

    origin: str
    target: str
    begin: tuple[float, float]
    end: tuple[float, float]

    def points(self, count: int = 200) -> Iterator[tuple[float, float]]:
        """Points along the wire, as litegraph's `SPLINE_LINK` draws it: a cubic Bezier curve that leaves to the right
        and arrives from the left, with handles of a quarter of the distance."""
        handle = math.dist(self.begin, self.end) / 4
        (x0, y0), (x3, y3) = self.begin, self.end
        for k in range(count + 1):
            t = k / count
            a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
            yield a * x0 + b * (x0 + handle) + c * (x3 - handle) + d * x3, (a + b) * y0 + (c + d) * y3


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def crossings(wires: list[Wire], boxes: dict[str, Box]) -> list[tuple[Wire, str]]:
    """The wires that pass behind a node that they don't belong to, and that node."""
    return [
        (wire, node)
        for wire in wires
        for node, (left, top, right, bottom) in boxes.items()
        if node not in (wire.origin, wire.target)
        and any(left < x < right and top < y < bottom for x, y in wire.points())
    ]
