#!/usr/bin/env python3
"""Draw the README's picture: frames of driving, source and result below each other.

    python scripts/make_picture.py docs/draft.jpg

Only faces that nobody has are shown: the clips are generated ones.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import fetch_clips
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate

SOURCE, DRIVING = "wan2", "humo"
COLUMNS, SIDE, MARGIN = 6, 180, 70
# Left, top, right, bottom of what is shown of the clips' 350 x 350 pixels: the face stays inside.
SHOWN = {SOURCE: (75, 20, 325, 270), DRIVING: (35, 10, 285, 260)}


def main(output: Path) -> int:
    """Make the picture."""
    clips = fetch_clips.fetch([SOURCE, DRIVING])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.mp4")
        engine = create_engine("draft", device="cpu")
        result = animate(clips[SOURCE], clips[DRIVING], output=path, engine=engine)
        # The driving clip as it was paired: at the result's rate.
        rows = [
            ("driving", Clip(clips[DRIVING]).chunks(1, rate=result.rate, cap=result.frames), SHOWN[DRIVING]),
            ("source", Clip(clips[SOURCE]).chunks(1, cap=result.frames), SHOWN[SOURCE]),
            ("result", Clip(path).chunks(1), SHOWN[SOURCE]),
        ]
        shown = [round(i * (result.frames - 1) / (COLUMNS - 1)) for i in range(COLUMNS)]
        picture = Image.new("RGB", (MARGIN + COLUMNS * SIDE, len(rows) * SIDE), "#16181d")
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
        for row, (name, chunks, box) in enumerate(rows):
            draw.text((MARGIN / 2, (row + 0.5) * SIDE), name, "#e8eaed", font, anchor="mm")
            frames = [chunk.frames[0] for chunk in chunks if chunk.index in shown]
            for column, frame in enumerate(frames):
                tile = Image.fromarray(frame.numpy()).resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)
                picture.paste(tile, (MARGIN + column * SIDE, row * SIDE))
    output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(output, quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/draft.jpg")))
