"""A drawn cat that moves, whose face no detector finds."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw

WIDTH, HEIGHT, CAT = 320, 240, 80


def cat() -> Image.Image:
    """A drawn cat's head, 80 pixels wide, on a clear ground."""
    picture = Image.new("RGBA", (CAT * 4, CAT * 4))
    draw = ImageDraw.Draw(picture)
    for x in (40, 200):
        draw.polygon([(x, 120), (x + 40, 10), (x + 80, 120)], "#a06a35")
    draw.ellipse((20, 60, 300, 310), "#c88a4a")
    for x in (90, 190):
        draw.ellipse((x, 140, x + 45, 185), "#d8e070")
        draw.ellipse((x + 16, 142, x + 29, 183), "#101010")
    draw.polygon([(145, 215), (175, 215), (160, 235)], "#e08080")
    draw.arc((120, 215, 160, 260), 0, 120, "#402010", 5)
    draw.arc((160, 215, 200, 260), 60, 180, "#402010", 5)
    return picture.resize((CAT, CAT), Image.Resampling.LANCZOS)


def place(k: int) -> tuple[float, float, float]:
    """Where the cat's middle is in frame k, and how large it is."""
    return 160 + 60 * math.sin(k / 9), 120 + 25 * math.sin(k / 5), 1 + 0.3 * math.sin(k / 12)


def picture(k: int, shown: bool = True) -> torch.Tensor:
    """Frame k: the cat moves and changes its size before a ground of stripes."""
    rows = np.add.outer(np.arange(HEIGHT) // 9 % 2 * 20, np.arange(WIDTH) // 13 % 2 * 25) + 90
    frame = Image.fromarray(np.repeat(rows[..., None], 3, 2).astype(np.uint8))
    if shown:
        x, y, size = place(k)
        side = round(CAT * size)
        small = cat().resize((side, side), Image.Resampling.LANCZOS)
        frame.paste(small, (round(x - side / 2), round(y - side / 2)), small)
    return torch.from_numpy(np.array(frame))
