#!/usr/bin/env python3
"""Draw the pack's icon and banner: the canonical face's mesh, as a driver and a source that turns with it.

python scripts/make_icon.py docs
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from liveportrait_v2v.faces.canonical import canonical_face  # noqa: E402 - from ROOT

GROUND, DRIVER, SOURCE = "#16181d", (255, 176, 84), (94, 196, 255)
OVERSAMPLING = 4


def mesh(picture: Image.Image, middle: tuple[float, float], height: float, yaw: float, colour) -> None:
    """Draw the mesh of a turned head; edges fade with their distance from the viewer.

    Args:
        picture: RGB, which is drawn on.
        middle, height: of the face in pixels.
        yaw: in degrees.
    """
    face = canonical_face()
    points = face.vertices - (face.vertices.amin(0) + face.vertices.amax(0)) / 2
    turn = math.radians(yaw)
    rotation = torch.tensor(
        [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    )
    points = points @ rotation.T
    size = height / float(points[:, 1].max() - points[:, 1].min())
    depth = (points[:, 2] - points[:, 2].min()) / (points[:, 2].max() - points[:, 2].min())
    draw, ground = ImageDraw.Draw(picture), tuple(int(GROUND[k : k + 2], 16) for k in (1, 3, 5))
    edges = {
        tuple(sorted((int(a), int(b))))
        for triangle in face.triangles.tolist()
        for a, b in zip(triangle, [*triangle[1:], triangle[0]], strict=True)
    }
    for a, b in sorted(edges, key=lambda edge: -float(depth[edge[0]] + depth[edge[1]])):
        near = 1 - 0.8 * float(depth[a] + depth[b]) / 2
        shade = tuple(round(g + (c - g) * near) for g, c in zip(ground, colour, strict=True))
        ends = [
            (middle[0] + float(points[k, 0]) * size, middle[1] + float(points[k, 1]) * size) for k in (a, b)
        ]
        draw.line(ends, shade, max(1, round(OVERSAMPLING * 0.9)))


def drawn(width: int, height: int, faces) -> Image.Image:
    """Return a picture of faces: middle in shares of the size, height in shares of the height, yaw and colour."""
    picture = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), GROUND)
    for (x, y), size, yaw, colour in faces:
        mesh(picture, (x * picture.width, y * picture.height), size * picture.height, yaw, colour)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def main(folder: Path) -> None:
    """Write icon.png and banner.png."""
    icon = drawn(400, 400, [((0.28, 0.4), 0.5, -24, DRIVER), ((0.68, 0.57), 0.66, -24, SOURCE)])
    icon.quantize(128).save(folder / "icon.png", optimize=True)
    steps = [((0.13 + 0.185 * k, 0.5), 0.6, -32 + 16 * k, DRIVER if k % 2 else SOURCE) for k in range(5)]
    drawn(1260, 540, steps).quantize(128).save(folder / "banner.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
