"""Speed and peak memory of the draft engine from file to file, for a short and a long clip.

    python benchmarks/draft_speed.py [--runs N] [CASE ...]

Each run is a process of its own, as a user starts it: `liveportrait-v2v animate`. "whole" is the time from the start
of Python to its exit, "run" the time that the command reports. The source is 640x360; both include decoding, tracking
of both clips, rendering and encoding with audio. The cases "one of two" and "two" have a source of the same size with
two faces: one of them led by a clip, and each of them by a clip of its own. "edited" is `express` with keyframes, of
the source's first seconds.
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
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import fetch_clips  # noqa: E402
from liveportrait_v2v.expression import Expression  # noqa: E402
from liveportrait_v2v.media import Clip, VideoWriter  # noqa: E402

FACE_COLUMNS = slice(286, 606)  # of the 640, with the face in their middle
EDITED_SECONDS = (2, 10, 40)
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


def beginning(source: Path, seconds: int, folder: Path) -> Path:
    """Write the first seconds of a clip, over and over again where it is shorter."""
    clip, path = Clip(source), folder / f"{seconds}_seconds.mp4"
    left = round(seconds * clip.info.rate)
    with VideoWriter(path, clip.info.rate) as writer:
        while left:
            for chunk in clip.chunks(16, cap=left):
                writer.write(chunk.frames)
                left -= len(chunk.frames)
    return path


def edited(source: Path, seconds: int, folder: Path) -> tuple[dict, float, float]:
    """Return the same as `run`, of an expression that nods and smiles twice a second alone."""
    times = range(4 * seconds + 1)
    keyframes = {time / 4: {"rotate_pitch": 8 * (time % 2), "smile": time % 2} for time in times}
    file = folder / "expression.json"
    file.write_text(json.dumps(Expression.keyed(keyframes, "smooth").to_dict()))
    return measured("express", str(source), "-o", str(folder / "out.mp4"), "--expression", str(file))


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
    return measured("animate", str(source), "-o", str(folder / "out.mp4"), *words)


def measured(*words: str) -> tuple[dict, float, float]:
    """Return the same as `run`, of a command."""
    command = [sys.executable, "-m", "liveportrait_v2v.cli", *words, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    report = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return report, time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Measure the draft and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each case; medians are printed (3)")
    parser.add_argument("cases", nargs="*", help="names of cases; all if left out")
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
        made: dict[str, Callable[[], tuple[dict, float, float]]] = {}
        for case, (driving, setting) in cases.items():
            fetched = fetch_clips.fetch(driving)
            clips, shown = [fetched[name] for name in driving], pair if "two" in case else face
            made[case] = partial(run, shown, clips, folder, setting, "driving_audio=true")
        for seconds in EDITED_SECONDS:
            made[f"edited {seconds}s"] = partial(edited, beginning(face, seconds, folder), seconds, folder)
        for case in [case for case in made if case in (options.cases or made)]:
            runs = [made[case]() for _ in range(options.runs)]
            frames = runs[0][0]["frames"]
            inside = statistics.median(frames / report["seconds"]["total"] for report, _, _ in runs)
            whole = statistics.median(frames / seconds for _, seconds, _ in runs)
            peak = statistics.median(memory for _, _, memory in runs)
            print(f"{'':8} {case:10} {frames:>6} {inside:>9.1f} {whole:>11.1f} {peak:>8.0f}", flush=True)
            stages = ", ".join(f"{k} {v:.1f} s" for k, v in runs[-1][0]["seconds"].items())
            print(f"{'':8} {stages} (stages overlap)", flush=True)


if __name__ == "__main__":
    main()
