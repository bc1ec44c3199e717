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
    """A dataclass with `landmarks`, float32 [N, K, 3] in pixels, `present`, bool [N], and `scenes`, int64 [N]."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def landmarks(self) -> torch.Tensor: ...

    @property
    def present(self) -> torch.Tensor: ...

    @property
    def scenes(self) -> torch.Tensor: ...


S = TypeVar("S", bound=Track)

SMOOTHING_RATE = 30
"""Frames per second that a smoothing variance refers to."""


def is_continuous(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Return whether a face [K, 3] in pixels moved by less than half its width, so that it may be the same one."""
    width = (before[topology.OVAL[8], :2] - before[topology.OVAL[28], :2]).norm()
    return bool((after[:, :2] - before[:, :2]).norm(dim=-1).mean() < 0.5 * width)


class Continuity:
    """Finder of the frames from which on a face is not what it was; takes the frames of a clip in order.

    A scene begins behind a cut that the tracker saw, and where the face is at another place: behind one that it missed.
    """

    def __init__(self) -> None:
        self._last: tuple[int, torch.Tensor] | None = None

    def begins(self, track: Track, k: int) -> bool:
        """Return whether a scene begins with frame k of a track, which shows the face."""
        scene, face = int(track.scenes[k]), track.landmarks[k]
        before, self._last = self._last, (scene, face)
        return before is None or before[0] != scene or not is_continuous(before[1], face)

    def interrupt(self) -> None:
        """Have the next frame begin a scene, whatever it shows."""
        self._last = None


def variance_at(variance: float, rate: Fraction | None) -> float:
    """Return the observation variance for a clip of this rate.

    At a lower rate a face moves further between two frames. `rate` None is a still.
    """
    return variance * float((rate or SMOOTHING_RATE) / SMOOTHING_RATE)


def smooth_landmarks(chunks: Iterable[S], variance: float, rate: Fraction | None) -> Iterator[S]:
    """Smooth landmarks over time; the smoother restarts after a gap in the track and where a scene begins.

    Args:
        chunks: chunks of one clip, in order.
        variance: observation variance of `FixedLagSmoother` at 30 frames per second; 0 disables smoothing.
        rate: frames per second of the clip, None for a still.
    """
    smoother = FixedLagSmoother(variance_at(variance, rate))
    waiting: deque[S] = deque()
    done: list[torch.Tensor] = []
    continuity = Continuity()

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
        for k, present in enumerate(chunk.present.tolist()):
            if not present:
                continuity.interrupt()
                done += smoother.flush()
                continue
            if continuity.begins(chunk, k):
                done += smoother.flush()
            done += smoother.push(chunk.landmarks[k])
        yield from ready()
    done += smoother.flush()
    yield from ready()
