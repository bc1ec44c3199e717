"""Temporal smoothing of landmarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import Field, replace
from fractions import Fraction
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from ..smoothing import FixedLagSmoother
from . import topology


class Track(Protocol):
    """A dataclass with `landmarks`, float32 [N, K, 3] in pixels, and `present`, bool [N]."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def landmarks(self) -> torch.Tensor: ...

    @property
    def present(self) -> torch.Tensor: ...


S = TypeVar("S", bound=Track)

SMOOTHING_RATE = 30
"""Frames per second that a smoothing variance refers to."""


def is_continuous(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Return whether a face [K, 3] in pixels moved by less than half its width, so that it may be the same one."""
    width = (before[topology.OVAL[8], :2] - before[topology.OVAL[28], :2]).norm()
    return bool((after[:, :2] - before[:, :2]).norm(dim=-1).mean() < 0.5 * width)


def variance_at(variance: float, rate: Fraction | None) -> float:
    """Return the observation variance for a clip of this rate.

    At a lower rate a face moves further between two frames. `rate` None is a still.
    """
    return variance * float((rate or SMOOTHING_RATE) / SMOOTHING_RATE)


def smooth_landmarks(chunks: Iterable[S], variance: float, rate: Fraction | None) -> Iterator[S]:
    """Smooth landmarks over time; the smoother restarts after a gap in the track and at a cut.

    Args:
        chunks: chunks of one clip, in order.
        variance: observation variance of `FixedLagSmoother` at 30 frames per second; 0 disables smoothing.
        rate: frames per second of the clip, None for a still.
    """
    smoother = FixedLagSmoother(variance_at(variance, rate))
    waiting: deque[S] = deque()
    done: list[torch.Tensor] = []
    last: torch.Tensor | None = None

    def ready() -> Iterator[S]:
        while waiting and len(done) >= int(waiting[0].present.sum()):
            chunk = waiting.popleft()
            count = int(chunk.present.sum())
            landmarks = chunk.landmarks.clone()
            if count:
                landmarks[chunk.present] = torch.stack(done[:count])
                del done[:count]
            yield replace(chunk, landmarks=landmarks)

    for chunk in chunks:
        waiting.append(chunk)
        for landmarks, present in zip(chunk.landmarks, chunk.present.tolist(), strict=True):
            if not present or (last is not None and not is_continuous(last, landmarks)):
                done += smoother.flush()
            last = landmarks if present else None
            if present:
                done += smoother.push(landmarks)
        yield from ready()
    done += smoother.flush()
    yield from ready()
