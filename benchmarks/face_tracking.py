"""Cost of tracking the faces of the real clips on one core, and the share of frames in which they are found.

    python benchmarks/face_tracking.py [--frames N] [clip ...]

CPU time of the process with one torch thread, after a warm-up chunk, without decoding. Then the cost of a search for
small faces in tiles, by the size of the picture: the tracker does one in the first frame, behind cuts, and at times.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "scripts")]

import fetch_clips  # noqa: E402
from liveportrait_v2v.faces import FaceTracker  # noqa: E402
from liveportrait_v2v.faces.detect import detect_in_tiles, tile_count  # noqa: E402
from liveportrait_v2v.media import Clip  # noqa: E402


def measure(path: Path, limit: int) -> tuple[str, int, list[int], float]:
    """Return frame size, number of frames, frames that show each face number, and milliseconds of CPU a frame."""
    clip = Clip(path)
    tracker = FaceTracker()
    tracker.track(next(iter(clip.chunks(8))).frames)
    tracker.reset()
    total, seconds, present = 0, 0.0, [0] * tracker.max_faces
    for chunk in clip.chunks(8, cap=limit):
        start = time.process_time()
        tracks = tracker.track(chunk.frames)
        seconds += time.process_time() - start
        total += len(chunk.frames)
        for number, count in enumerate(tracks.present.sum(0).tolist()):
            present[number] += count
    size = f"{clip.info.width}x{clip.info.height}"
    return size, total, [count for count in present if count], seconds / total * 1000


def search_cost(height: int, width: int) -> float:
    """Return the milliseconds of CPU of a search in tiles."""
    frame = torch.full((1, height, width, 3), 90, dtype=torch.uint8)
    start = time.process_time()
    detect_in_tiles(frame, "cpu")
    return (time.process_time() - start) * 1000


def main() -> None:
    """Measure the tracker and print the tables."""
    names = [name for name in fetch_clips.CLIPS if not name.startswith("model_")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600, help="limit of frames of each clip (600)")
    parser.add_argument("clips", nargs="*", default=names, metavar="clip")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'clip':12} {'size':>9} {'frames':>6} {'present':>14} {'ms/frame':>9}")
    for name, path in fetch_clips.fetch(options.clips).items():
        size, total, present, cost = measure(path, options.frames)
        share = " ".join(f"{count / total:.1%}" for count in present)
        print(f"{name:12} {size:>9} {total:>6} {share:>14} {cost:>9.1f}", flush=True)
    print(f"\n{'in tiles':12} {'tiles':>9} {'ms':>9}")
    for height, width in ((720, 1280), (1080, 1920), (2160, 3840), (4320, 7680)):
        size = f"{width}x{height}"
        print(f"{size:12} {tile_count(height, width):>9} {search_cost(height, width):>9.1f}", flush=True)


if __name__ == "__main__":
    main()
