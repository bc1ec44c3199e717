"""Where a run's time on the GPU goes: the ten longest kernels and the ten longest gaps."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .options import Options
from .report import Report
from .run import Runs
from .timeline import Timeline, busy_share, by_name, gaps, record, running

PART = "profile"
FRAMES = 64
MOST = 10
WINDOW = 0.3, 0.95
"""Shares of the run that are looked at: after the start, before the end of the encoder."""


def profile(options: Options, report: Report) -> None:
    """Profile a warm run at 720p; without a GPU there is nothing to see."""
    if not options.on_gpu:
        report.note(PART, kernels=None, gaps=None)
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, report, Path(folder))
        runs.go("720p", "square", 32)
        timeline = record(lambda: runs.go("720p", "square", FRAMES), operations=True).window(*WINDOW)
    describe(report, timeline, FRAMES * (WINDOW[1] - WINDOW[0]))


def describe(report: Report, timeline: Timeline, frames: float) -> None:
    """Add rows for the longest kernels and gaps of a timeline of so many frames."""
    report.note(PART, frames=frames, gpu_busy=busy_share(timeline.kernels))
    kinds = by_name(timeline.kernels)
    total = sum(microseconds for _, _, microseconds in kinds)
    report.note(PART, kernels_a_frame=len(timeline.kernels) / frames, gpu_ms_a_frame=total / frames / 1e3)
    for name, count, microseconds in kinds[:MOST]:
        report.add(
            PART,
            kernel=name[:120],
            share=microseconds / total,
            **{"ms a frame": microseconds / frames / 1e3, "times a frame": count / frames},
        )
    for gap in gaps(timeline.kernels)[:MOST]:
        names = running(timeline.operations, gap)
        text = "; ".join(f"{name} (thread {thread})" for thread, name in names.items())
        report.add(
            PART, **{"gap ms": (gap[1] - gap[0]) / 1e3, "the CPU runs": text or "no operation of torch"}
        )
