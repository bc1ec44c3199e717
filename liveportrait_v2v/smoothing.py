"""Temporal smoothing of a stream, with a fixed lag or none."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import numpy as np
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


class ForwardFilter:
    """The filter of the same model alone: each frame is smoothed over those before it, and none is held back.

    Args:
        variance: observation variance; 0 passes everything through.
    """

    def __init__(self, variance: float):
        self.variance = variance
        self._mean: torch.Tensor | None = None
        self._seen = 0

    @property
    def lag(self) -> float:
        """Frames by which a steady motion comes out late, (1 - w) / w for the weight w of a frame's own numbers."""
        if self.variance == 0:
            return 0.0
        weight = _posterior_variances(self.variance)[-1] / self.variance
        return (1 - weight) / weight

    def push(self, value: torch.Tensor) -> torch.Tensor:
        """Take one frame's numbers (any shape, float), and return them smoothed."""
        if self.variance == 0 or self._mean is None:
            self._mean = value
        else:
            variances = _posterior_variances(self.variance)
            weight = variances[min(self._seen, len(variances) - 1)] / self.variance
            self._mean = torch.lerp(self._mean, value, weight)
        self._seen += 1
        return self._mean

    def reset(self) -> None:
        """Start over: the next frame is the first."""
        self._mean, self._seen = None, 0


class ChunkSmoother:
    """A `FixedLagSmoother` to rounding that takes any number of frames by one product with a small matrix.

    So a GPU gets few kernels. It may be of any dtype and device, as long as these stay the same.

    Args:
        variance: observation variance; 0 passes everything through without delay.
        lag: frames of look-ahead, 1 or more.
    """

    def __init__(self, variance: float, lag: int = 8):
        self.variance = variance
        self.lag = lag
        self._seen = 0
        self._held: torch.Tensor | None = None  # filtered means of the last frames, which aren't final

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """Take the next frames' numbers, float [N, ...], and return the frames that are now final, [M, ...]."""
        if self.variance == 0 or not len(rows):
            return rows
        given = rows if self._held is None else torch.cat((self._held, rows))
        final, self._held = self._weighted(given, len(rows), min(len(given), self.lag))
        self._seen += len(rows)
        return final

    def flush(self) -> torch.Tensor | None:
        """Return the frames still held back, [M, ...], or None if there are none, and start over."""
        held, self._held = self._held, None
        if held is not None:
            held, _ = self._weighted(held, 0, 0)
        self._seen = 0
        return held

    def _weighted(self, given: torch.Tensor, new: int, hold: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the final frames and the means of those to hold, of the means held so far and of `new` frames."""
        settled = len(_posterior_variances(self.variance)) + self.lag
        weights = _weights(
            self.variance, self.lag, min(self._seen, settled), new, hold, given.dtype, given.device
        )
        final, held = (weights @ given.flatten(1)).view(given.shape).split((len(given) - hold, hold))
        return final, held


@lru_cache(maxsize=16)
def _posterior_variances(variance: float) -> tuple[float, ...]:
    """Return the filter's variance after each frame, up to the frame from which on it stays the same."""
    found: list[float] = []
    predicted = 1.0
    while len(found) < 2 or abs(found[-1] - found[-2]) > 1e-12 * found[-1]:
        found.append(predicted * variance / (predicted + variance))
        predicted = found[-1] + PROCESS_VARIANCE
    return tuple(found)


@lru_cache(maxsize=256)
def _weights(
    variance: float, lag: int, seen: int, new: int, hold: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Return what turns the filtered means of frames held back, and new frames, into smoothed frames and means.

    Args:
        variance, lag: as in `ChunkSmoother`.
        seen: number of frames before the new ones.
        new: number of new frames.
        hold: number of frames that stay filtered, the last ones; the others are smoothed.

    Returns:
        [K, K], K being the number of frames held back and new.
    """
    variances = _posterior_variances(variance)
    count = min(seen, lag) + new
    posterior = [variances[min(seen + new - count + k, len(variances) - 1)] for k in range(count)]
    filtered = np.eye(count)
    for k in range(count - new, count):
        if k:
            gain = posterior[k] / variance
            filtered[k] = gain * filtered[k] + (1 - gain) * filtered[k - 1]
    weights = filtered.copy()
    for k in range(count - hold):
        last = min(k + lag, count - 1)
        smoothed = filtered[last]
        for i in range(last - 1, k - 1, -1):
            gain = posterior[i] / (posterior[i] + PROCESS_VARIANCE)
            smoothed = filtered[i] + gain * (smoothed - filtered[i])
        weights[k] = smoothed
    return torch.from_numpy(weights).to(dtype).to(device, non_blocking=device.type == "cuda")
