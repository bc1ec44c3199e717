#!/usr/bin/env python3
"""Draw the picture of docs/expression.md: each channel at its least and its largest value.

    python scripts/make_expression_picture.py docs/expression.jpg

The face is the generated one of examples/, edited by the draft engine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.expression import CHANNELS, Expression
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate

PICTURE = Path(__file__).resolve().parent.parent / "examples" / "example_picture.jpg"
PAIRS, SIDE, LABEL = 4, 150, 22
FACE_SHARES = (0.15, 0.13, 0.83, 0.81)
"""Left, top, right, bottom of what is shown of the picture."""


def edited(name: str, value: float) -> Image.Image:
    """Return the picture with a channel at a value, cut around the face."""
    got = []
    role = Role(expression=Expression.constant(**{name: value}))
    animate(PICTURE, roles=[role], engine=create_engine("draft"), sink=got.append)
    picture = Image.fromarray(got[0].frames[0].numpy())
    left, top, right, bottom = FACE_SHARES
    box = left * picture.width, top * picture.height, right * picture.width, bottom * picture.height
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)


def main(output: Path) -> int:
    """Make the picture."""
    rows = -(-len(CHANNELS) // PAIRS)
    sheet = Image.new("RGB", (PAIRS * (2 * SIDE + 8), rows * (SIDE + LABEL)), "#16181d")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (name, channel) in enumerate(CHANNELS.items()):
        x, y = place % PAIRS * (2 * SIDE + 8), place // PAIRS * (SIDE + LABEL)
        draw.text(
            (x + SIDE, y + LABEL / 2), f"{channel.low:g}   {name}   {channel.high:g}", "#e8eaed", font, "mm"
        )
        for side, value in enumerate((channel.low, channel.high)):
            sheet.paste(edited(name, value), (x + side * SIDE, y + LABEL))
    sheet.save(output, quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/expression.jpg")))
