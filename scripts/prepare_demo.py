#!/usr/bin/env python3
"""Put the demo's two clips into a folder: `python scripts/prepare_demo.py demo`. Those there stay."""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import fetch_clips
from liveportrait_v2v.media import Clip, VideoWriter

# Earlier in the clip there are hands over the face.
START, DURATION = Fraction(260 * 1001, 24000), Fraction(7)


def main(folder: Path) -> int:
    """Prepare the demo's clips."""
    folder.mkdir(parents=True, exist_ok=True)
    source, driving = folder / "source.mp4", folder / "driving.mp4"
    if source.exists() and driving.exists():
        return 0
    try:
        clips = fetch_clips.fetch(["wolfgang", "jwp_intro"])
    except fetch_clips.FetchError as error:
        print(f"prepare_demo: {error}; put clips of your own at {source} and {driving}", file=sys.stderr)
        return 1
    for name in clips:
        print(f"{name}: {fetch_clips.licence(name)}")
    if not driving.exists():
        part = driving.with_suffix(".part")
        shutil.copyfile(clips["jwp_intro"], part)
        part.replace(driving)
    if not source.exists():
        clip = Clip(clips["wolfgang"], start=START, duration=DURATION)
        with VideoWriter(source, clip.info.rate, crf=12) as writer:
            for chunk in clip.chunks(8):
                writer.write(chunk.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
