"""Times of calls, and peaks of memory."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Clock:
    """Times of calls on a device: by events on a GPU, by the host's clock elsewhere.

    Args:
        seconds: aim for each figure; at least three calls are measured.
        warm: calls before those that count.
    """

    def __init__(self, device: str, seconds: float = 0.25, warm: int = 3):
        self._on_gpu = torch.device(device).type == "cuda"
        self._seconds = seconds
        self._warm = warm

    def wait(self) -> None:
        """Wait for all that the device was given."""
        if self._on_gpu:
            torch.cuda.synchronize()

    @torch.no_grad()
    def ms(self, run: Callable[[], Any]) -> float:
        """Return the median milliseconds of a call, warm."""
        for _ in range(self._warm):
            run()
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        count = max(3, min(100, int(self._seconds / (time.perf_counter() - start))))
        return statistics.median(self._by_events(run, count) if self._on_gpu else self._by_host(run, count))

    @torch.no_grad()
    def launch_ms(self, run: Callable[[], Any]) -> float | None:
        """Return the host's milliseconds to launch a call, without waiting for the GPU; None without one."""
        if not self._on_gpu:
            return None
        times = []
        for _ in range(3):
            self.wait()
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        self.wait()
        return statistics.median(times)

    def _by_events(self, run: Callable[[], Any], count: int) -> list[float]:
        marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        for start, end in marks:
            start.record()
            run()
            end.record()
        self.wait()
        return [start.elapsed_time(end) for start, end in marks]

    def _by_host(self, run: Callable[[], Any], count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return times


class MemoryPeaks:
    """The most memory in use inside its block, a context manager.

    Attributes:
        host_mb: resident memory of the process, looked at every 20 ms; None where Linux's /proc is missing.
        gpu_mb, gpu_reserved_mb: allocated, and held by torch's allocator; None without a GPU.
    """

    def __init__(self, device: str):
        self._on_gpu = torch.device(device).type == "cuda"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.host_mb: float | None = None
        self.gpu_mb: float | None = None
        self.gpu_reserved_mb: float | None = None

    def __enter__(self) -> MemoryPeaks:
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._on_gpu:
            self.gpu_mb = torch.cuda.max_memory_allocated() / 2**20
            self.gpu_reserved_mb = torch.cuda.max_memory_reserved() / 2**20

    def _look(self) -> None:
        status = Path("/proc/self/status")
        while status.exists():
            found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
            if found:
                self.host_mb = max(self.host_mb or 0.0, int(found[1]) / 1024)
            if self._stop.wait(0.02):
                return
