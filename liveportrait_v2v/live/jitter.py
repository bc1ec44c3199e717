"""Jitter of a face that is tracked."""

from __future__ import annotations

from collections import deque
from statistics import median

import torch

from ..smoothing import ForwardFilter
from .neutral import face_width

MOST_SECONDS = 0.08
"""Time from one frame to the next up to which they count."""
_FRAMES = 30


class Jitter:
    """Jitter of a face's landmarks before and after smoothing, over the last second.

    Of a frame it is the root mean square over the landmarks of their second difference over time, which steady motion
    lacks, in thousandths of the face's width. Frames far apart show motion rather than jitter, and don't count. The
    median over the last second is taken, so that a quick motion doesn't, either.

    Args:
        variance: as in `ForwardFilter`.
    """

    def __init__(self, variance: float):
        self._filter = ForwardFilter(variance)
        self._last: deque[torch.Tensor] = deque(maxlen=3)  # [2, K, 2]: raw and smoothed
        self._found: deque[tuple[float, float]] = deque(maxlen=_FRAMES)
        self._seconds = 0.0

    def push(self, landmarks: torch.Tensor, seconds: float) -> None:
        """Take the next frame's landmarks, float32 [K, 3] in pixels, and its time."""
        if seconds - self._seconds > MOST_SECONDS:
            self._last.clear()
        self._seconds = seconds
        points = landmarks[:478, :2]
        self._last.append(torch.stack((points, self._filter.push(points))))
        if len(self._last) == 3:
            first, second, third = self._last
            shake = (third - 2 * second + first).square().sum(-1).mean(-1).sqrt() / face_width(points)
            raw, smoothed = (1000 * shake).tolist()
            self._found.append((raw, smoothed))

    def interrupt(self) -> None:
        """Note a frame without the face."""
        self._last.clear()
        self._filter.reset()

    def get(self) -> tuple[float, float] | None:
        """Return the jitter before and after smoothing; None before any frame counts."""
        if not self._found:
            return None
        raw, smoothed = zip(*self._found, strict=True)
        return median(raw), median(smoothed)
