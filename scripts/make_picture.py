#!/usr/bin/env python3
"""Draw what the draft does: moments of driving, source and result as a picture, and all of them moving.

    python scripts/make_picture.py docs/draft

leaves `docs/draft.jpg` and, for the README, `docs/draft.webp`. Only faces that nobody has are shown: the clips are
generated ones.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import fetch_clips
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.media import Chunk, Clip
from liveportrait_v2v.run import animate

SOURCE, DRIVING = "wan2", "ltx2"
START = {DRIVING: 21 / 15}
"""Where a clip begins, in seconds: there, the camera has come to rest."""
# Left, top, right, bottom of what is shown of the clips' 350 x 350 pixels: the face stays inside.
SHOWN = {SOURCE: (75, 20, 325, 270), DRIVING: (70, 20, 320, 270)}
COLUMNS, SIDE, MARGIN = 6, 180, 70
MOVING_SIDE, MOVING_MARGIN = 256, 24
EVERY = 2
"""Frames of the clips for each of the moving picture."""
BACKGROUND, TEXT = "#16181d", "#e8eaed"

Rows = dict[str, list[Image.Image]]
"""Frames of driving, source and result, each cut to the face."""


def main(stem: Path) -> int:
    """Make both pictures."""
    rows, rate = _rows()
    stem.parent.mkdir(parents=True, exist_ok=True)
    _moments(rows).save(stem.with_suffix(".jpg"), quality=88)
    moving = [_side_by_side(rows, k) for k in range(0, len(rows["result"]), EVERY)]
    milliseconds = round(1000 * EVERY / rate)
    moving[0].save(
        stem.with_suffix(".webp"),
        save_all=True,
        append_images=moving[1:],
        duration=milliseconds,
        loop=0,
        quality=60,
        method=6,
    )
    return 0


def _rows() -> tuple[Rows, float]:
    """Animate, and return the frames and their rate."""
    paths = fetch_clips.fetch([SOURCE, DRIVING])
    clips = {name: Clip(path, start=START.get(name, 0)) for name, path in paths.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.mp4")
        engine = create_engine("draft", device="cpu")
        result = animate(clips[SOURCE], clips[DRIVING], output=path, engine=engine)
        # The driving clip as it was paired: at the result's rate.
        driving = clips[DRIVING].chunks(1, rate=result.rate, cap=result.frames)
        source = clips[SOURCE].chunks(1, cap=result.frames)
        rows = {
            "driving": _cut(driving, DRIVING),
            "source": _cut(source, SOURCE),
            "result": _cut(Clip(path).chunks(1), SOURCE),
        }
        return rows, float(result.rate)


def _cut(chunks: Iterable[Chunk], clip: str) -> list[Image.Image]:
    box = SHOWN[clip]
    return [Image.fromarray(chunk.frames[0].numpy()).crop(box) for chunk in chunks]


def _tile(frame: Image.Image, side: int) -> Image.Image:
    return frame.resize((side, side), Image.Resampling.LANCZOS)


def _moments(rows: Rows) -> Image.Image:
    """Return some moments, driving, source and result below each other."""
    picture = Image.new("RGB", (MARGIN + COLUMNS * SIDE, len(rows) * SIDE), BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for row, (name, frames) in enumerate(rows.items()):
        draw.text((MARGIN / 2, (row + 0.5) * SIDE), name, TEXT, font, anchor="mm")
        for column in range(COLUMNS):
            frame = frames[round(column * (len(frames) - 1) / (COLUMNS - 1))]
            picture.paste(_tile(frame, SIDE), (MARGIN + column * SIDE, row * SIDE))
    return picture


def _side_by_side(rows: Rows, k: int) -> Image.Image:
    """Return frame k of driving, source and result, beside each other."""
    side, margin = MOVING_SIDE, MOVING_MARGIN
    picture = Image.new("RGB", (len(rows) * side, side + margin), BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for column, (name, frames) in enumerate(rows.items()):
        draw.text(((column + 0.5) * side, margin / 2), name, TEXT, font, anchor="mm")
        picture.paste(_tile(frames[k], side), (column * side, margin))
    return picture


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/draft")))
