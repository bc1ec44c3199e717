"""Speed and peak memory of the draft engine from file to file, for a short and a long clip.

    python benchmarks/draft_speed.py [--runs N]

Each run is a process of its own, as a user starts it: `liveportrait-v2v animate`. "whole" is the time from the start
of Python to its exit, "run" the time that the command reports. The source is 640x360; both include decoding, tracking
of both clips, rendering and encoding with audio. The cases "one of two" and "two" have a source of the same size with
two faces: one of them led by a clip, and each of them by a clip of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import fetch_clips  # noqa: E402
from liveportrait_v2v.media import Clip, VideoWriter  # noqa: E402

FACE_COLUMNS = slice(286, 606)  # of the 640, with the face in their middle
HANDS_GONE_SECONDS = Fraction(260 * 1001, 24000)  # before, hands cover the face of this clip


def source(folder: Path) -> Path:
    """Write the source clip."""
    clip, path = (
        Clip(fetch_clips.fetch(["wolfgang"])["wolfgang"], start=HANDS_GONE_SECONDS),
        folder / "source.mp4",
    )
    with VideoWriter(path, clip.info.rate) as writer:
        for chunk in clip.chunks(16):
            writer.write(chunk.frames)
    return path


def two_faces(source: Path, folder: Path) -> Path:
    """Write a clip of the source's size with its face twice: the middle half of each frame and its mirror image."""
    clip, path = Clip(source), folder / "two_faces.mp4"
    with VideoWriter(path, clip.info.rate) as writer:
        for chunk in clip.chunks(16):
            half = chunk.frames[:, :, FACE_COLUMNS]
            writer.write(torch.cat((half, half.flip(2)), 2))
    return path


def run(source: Path, driving: list[Path], folder: Path, *settings: str) -> tuple[dict, float, float]:
    """Return the report of one run, its whole wall time in seconds, and its peak memory in MB.

    Args:
        driving: a clip for each face from the first on.
    """
    words = [word for setting in (*settings, "video_frame_load_cap=0") for word in ("--set", setting)]
    words += [word for face, clip in enumerate(driving) for word in ("--face", f"{face}={clip}")]
    command = [sys.executable, "-m", "liveportrait_v2v.cli", "animate", str(source), "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", str(folder / "out.mp4"), *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    report = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return report, time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Measure the draft and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each case; medians are printed (3)")
    options = parser.parse_args()
    cases = {
        "short": (("jwp_intro",), "mismatch_method=cut"),
        "long": (("cap12",), "mismatch_method=circle"),
        "one of two": (("jwp_intro",), "mismatch_method=cut"),
        "two": (("jwp_intro", "test_movie"), "mismatch_method=cut"),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        face = source(folder)
        pair = two_faces(face, folder)
        print(
            f"{os.cpu_count()} cores; {'case':10} {'frames':>6} {'fps, run':>9} {'fps, whole':>11} {'peak MB':>8}"
        )
        for case, (driving, setting) in cases.items():
            fetched = fetch_clips.fetch(driving)
            clips, shown = [fetched[name] for name in driving], pair if "two" in case else face
            runs = [run(shown, clips, folder, setting, "driving_audio=true") for _ in range(options.runs)]
            frames = runs[0][0]["frames"]
            inside = statistics.median(frames / report["seconds"]["total"] for report, _, _ in runs)
            whole = statistics.median(frames / seconds for _, seconds, _ in runs)
            peak = statistics.median(memory for _, _, memory in runs)
            print(f"{'':8} {case:10} {frames:>6} {inside:>9.1f} {whole:>11.1f} {peak:>8.0f}", flush=True)
            stages = ", ".join(f"{k} {v:.1f} s" for k, v in runs[-1][0]["seconds"].items())
            print(f"{'':8} {stages} (stages overlap)", flush=True)


if __name__ == "__main__":
    main()
