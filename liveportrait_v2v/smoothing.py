"""Temporal smoothing of a stream, with a fixed lag."""

from __future__ import annotations

from collections import deque

import torch

PROCESS_VARIANCE = 1e-5
"""Variance of the random walk from one frame to the next."""


class FixedLagSmoother:
    """Rauch-Tung-Striebel smoother of a scalar random walk, shared by every number of a frame.

    Model: x[t] = x[t-1] + w, y[t] = x[t] + v, var(w) = PROCESS_VARIANCE, var(v) = `variance`, initial mean y[0],
    initial variance 1. The gains don't depend on the data, so one scalar filter serves all of a frame's numbers. A
    frame is smoothed over all frames before it and the `lag` frames after it.

    Args:
        variance: observation variance; 0 passes everything through without delay.
        lag: frames of look-ahead.
    """

    def __init__(self, variance: float, lag: int = 8):
        self.variance = variance
        self.lag = lag if variance > 0 else 0
        self._filtered: deque[tuple[torch.Tensor, float, float]] = deque()  # mean, P, P predicted

    def push(self, value: torch.Tensor) -> list[torch.Tensor]:
        """Take one frame's numbers (any shape, float), and return the frames that are now final, oldest first."""
        if self.variance == 0:
            return [value]
        if self._filtered:
            mean, p, _ = self._filtered[-1]
            predicted = p + PROCESS_VARIANCE
        else:
            mean, predicted = value, 1.0
        gain = predicted / (predicted + self.variance)
        self._filtered.append((mean + gain * (value - mean), (1 - gain) * predicted, predicted))
        return [self._smooth_oldest()] if len(self._filtered) > self.lag else []

    def flush(self) -> list[torch.Tensor]:
        """Return the frames still held back, oldest first, and start over."""
        done = []
        while self._filtered:
            done.append(self._smooth_oldest())
        return done

    def _smooth_oldest(self) -> torch.Tensor:
        smoothed = self._filtered[-1][0]
        for (mean, p, _), (_, _, predicted) in zip(
            reversed(list(self._filtered)[:-1]), reversed(list(self._filtered)[1:]), strict=True
        ):
            smoothed = mean + (p / predicted) * (smoothed - mean)
        self._filtered.popleft()
        return smoothed
