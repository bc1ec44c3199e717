"""What a GPU did and when, by torch's profiler: kernels and copies, the gaps between them, and the CPU's operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Span:
    """Something that took time: microseconds from and to, its name, and its thread or None."""

    start: float
    end: float
    name: str
    thread: int | None = None


@dataclass(frozen=True)
class Timeline:
    """The GPU's kernels and copies, in all streams, and the CPU's operations, in all threads."""

    kernels: list[Span]
    operations: list[Span]

    def window(self, first: float, last: float) -> Timeline:
        """Return the part between two shares of the time from the first kernel to the last; kernels are cut there."""
        begin, end = self.kernels[0].start, max(span.end for span in self.kernels)
        low, high = begin + first * (end - begin), begin + last * (end - begin)
        kernels = [
            Span(max(span.start, low), min(span.end, high), span.name, span.thread)
            for span in self.kernels
            if span.end > low and span.start < high
        ]
        return Timeline(kernels, [span for span in self.operations if span.end > low and span.start < high])


def record(run: Callable[[], Any], operations: bool) -> Timeline:
    """Run something under the profiler.

    Args:
        operations: record the CPU's as well, which takes more of its time.
    """
    activities = [ProfilerActivity.CUDA] * torch.cuda.is_available() + [ProfilerActivity.CPU] * operations
    with profile(activities=activities, experimental_config=_all_threads()) as seen:
        run()
    kernels, others = [], []
    for event in seen.events():
        if event.is_user_annotation:
            continue
        span = Span(event.time_range.start, event.time_range.end, event.name, event.thread)
        (others if event.device_type == DeviceType.CPU else kernels).append(span)
    return Timeline(sorted(kernels, key=lambda span: span.start), others)


def _all_threads() -> Any:
    """Return the configuration that records every thread's operations, None where torch has none."""
    from torch._C._profiler import _ExperimentalConfig

    try:
        return _ExperimentalConfig(profile_all_threads=True)
    except TypeError:
        return None


def merged(spans: Iterable[Span]) -> list[tuple[float, float]]:
    """Return the times in which at least one of the spans, sorted by their start, runs."""
    found: list[tuple[float, float]] = []
    for span in spans:
        if found and span.start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], span.end)
        else:
            found.append((span.start, span.end))
    return found


def busy_share(kernels: list[Span]) -> float:
    """Return the share of the time from the first kernel to the last in which any runs."""
    runs = merged(kernels)
    return sum(end - start for start, end in runs) / (runs[-1][1] - runs[0][0])


def gaps(kernels: list[Span]) -> list[tuple[float, float]]:
    """Return the times between kernels in which none runs, the longest first."""
    runs = merged(kernels)
    between = [(before[1], after[0]) for before, after in pairwise(runs)]
    return sorted(between, key=lambda gap: gap[0] - gap[1])


def running(operations: Iterable[Span], gap: tuple[float, float]) -> dict[int | None, str]:
    """Return the innermost operation that runs in the middle of a gap, for each thread that has one."""
    middle = (gap[0] + gap[1]) / 2
    inner: dict[int | None, Span] = {}
    for span in operations:
        if span.start <= middle < span.end:
            known = inner.get(span.thread)
            if known is None or span.end - span.start < known.end - known.start:
                inner[span.thread] = span
    return {thread: span.name for thread, span in inner.items()}


def by_name(kernels: Iterable[Span]) -> list[tuple[str, int, float]]:
    """Return name, number and microseconds of each kind of kernel, the longest first."""
    found: dict[str, list[float]] = defaultdict(list)
    for span in kernels:
        found[span.name].append(span.end - span.start)
    rows = [(name, len(times), sum(times)) for name, times in found.items()]
    return sorted(rows, key=lambda row: -row[2])
