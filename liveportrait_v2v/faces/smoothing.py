"""Temporal smoothing of landmarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import torch

from ..smoothing import FixedLagSmoother
from . import topology


class Track(Protocol):
    """A dataclass with `landmarks`, float32 [N, K, 3] in pixels, and `present`, bool [N]."""

    @property
    def landmarks(self) -> torch.Tensor: ...

    @property
    def present(self) -> torch.Tensor: ...


S = TypeVar("S", bound=Track)

SMOOTHING_RATE = 30
"""Frames per second that a smoothing variance is meant for."""


def is_continuous(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Return whether a face [K, 3] in pixels may be the one just before: it moved by less than half its width."""
    width = (before[topology.OVAL[8], :2] - before[topology.OVAL[28], :2]).norm()
    return bool((after[:, :2] - before[:, :2]).norm(dim=-1).mean() < 0.5 * width)


def variance_at(variance: float, rate: Fraction | None) -> float:
    """Return the observation variance for a clip of this rate.

    The fewer frames there are in a second, the further a face moves between two.
    """
    return variance * float((rate or SMOOTHING_RATE) / SMOOTHING_RATE)


def smooth_landmarks(shots: Iterable[S], variance: float, rate: Fraction | None) -> Iterator[S]:
    """Smooth landmarks over time; after a gap in the track and at a cut the smoother starts again.

    Args:
        shots: chunks of one clip, in order.
        variance: observation variance of `FixedLagSmoother`, meant for 30 frames a second; 0 smooths nothing.
        rate: frames per second of the clip, None for a still.
    """
    smoother = FixedLagSmoother(variance_at(variance, rate))
    waiting: deque[S] = deque()
    done: list[torch.Tensor] = []
    last: torch.Tensor | None = None

    def ready() -> Iterator[S]:
        while waiting and len(done) >= int(waiting[0].present.sum()):
            shot = waiting.popleft()
            count = int(shot.present.sum())
            landmarks = shot.landmarks.clone()
            if count:
                landmarks[shot.present] = torch.stack(done[:count])
                del done[:count]
            chunk: Any = shot
            yield replace(chunk, landmarks=landmarks)

    for shot in shots:
        waiting.append(shot)
        for landmarks, present in zip(shot.landmarks, shot.present.tolist(), strict=True):
            if not present or (last is not None and not is_continuous(last, landmarks)):
                done += smoother.flush()
            last = landmarks if present else None
            if present:
                done += smoother.push(landmarks)
        yield from ready()
    done += smoother.flush()
    yield from ready()
