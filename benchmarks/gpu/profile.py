"""Where the time on the GPU goes: the longest kernels of each network and of a run, and the run's longest gaps."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch

from . import forms
from .options import Options
from .report import Report
from .run import Runs
from .subjects import NAMES, Given, our_calls
from .timeline import Timeline, busy_share, by_name, gaps, record, running

PART = "profile"
FRAMES = 64
MOST = 10
WINDOW = 0.3, 0.95
"""Shares of the run that are looked at: after the start, before the end of the encoder."""


def profile(options: Options, report: Report) -> None:
    """Profile each network and a warm run at 720p; without a GPU there is nothing to see."""
    if not options.on_gpu:
        report.note(PART, kernels=None, gaps=None)
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, report, Path(folder))
        report.attempt(PART, partial(_profile_networks, options, report, runs.form), what="networks")
        runs.go("720p", "square", 32)
        timeline = record(lambda: runs.go("720p", "square", FRAMES), operations=True).window(*WINDOW)
    describe(report, timeline, FRAMES * (WINDOW[1] - WINDOW[0]))


@torch.no_grad()
def _profile_networks(options: Options, report: Report, form: str) -> None:
    """Add rows for the longest kernels of F, M, W and G, uncaptured and uncompiled."""
    plain = forms.without(forms.without(form, "graphs"), "compiled")
    networks = forms.networks(plain, options.device, options.precision)
    with forms.switched(plain, options.device):
        for name, run in our_calls(networks, Given.random(options.batch, options.device), NAMES[:4]).items():
            run()
            torch.cuda.synchronize()
            kernels = record(run, operations=False).kernels
            kinds = by_name(kernels)
            total = sum(microseconds for _, _, microseconds in kinds)
            report.add(
                PART,
                network_of_kernels=name,
                kernels=len(kernels),
                **{"ms a frame": total / options.batch / 1e3},
            )
            for kernel, count, microseconds in kinds[:MOST]:
                report.add(
                    PART,
                    kernel_of=name,
                    kernel=kernel[:120],
                    share=microseconds / total,
                    **{"ms a frame": microseconds / options.batch / 1e3, "times": count},
                )


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
    streams = sorted({span.thread for span in timeline.kernels}, key=str)
    for stream in streams if len(streams) > 1 else ():
        own = by_name(span for span in timeline.kernels if span.thread == stream)
        ms = sum(microseconds for _, _, microseconds in own) / frames / 1e3
        report.add(
            PART, stream=stream, **{"ms a frame": ms, "kernels a frame": sum(n for _, n, _ in own) / frames}
        )
        for name, count, microseconds in own[:MOST]:
            report.add(
                PART,
                in_stream=stream,
                kernel=name[:120],
                **{"ms a frame": microseconds / frames / 1e3, "times a frame": count / frames},
            )
    for gap in gaps(timeline.kernels)[:MOST]:
        names = running(timeline.operations, gap)
        text = "; ".join(f"{name} (thread {thread})" for thread, name in names.items())
        report.add(
            PART, **{"gap ms": (gap[1] - gap[0]) / 1e3, "the CPU runs": text or "no operation of torch"}
        )
