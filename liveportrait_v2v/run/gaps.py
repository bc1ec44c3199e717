"""Gaps in the track of a face: short ones are bridged, around long ones the animation fades out and in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from ..faces.smoothing import Continuity
from ..tracking import TrackedChunk

BRIDGED_SECONDS = Fraction(1, 5)
"""Longest gap that is bridged."""
FADE_SECONDS = Fraction(1, 10)
"""Time in which the animation fades out before a longer gap, and in again after it."""

Sighting = tuple[torch.Tensor | None, bool]
"""What a frame shows of the face, None without it, and whether the face continues from the last frame that did."""


@dataclass(frozen=True)
class Shown:
    """What a frame is to show of a face.

    Attributes:
        value: the frame's own, or interpolated between its neighbours'; None where the gap is not bridged.
        seen: the frame itself shows the face.
        opacity: of the animation, 0..1: 0 without a value, 1 far from such frames.
    """

    value: torch.Tensor | None
    seen: bool
    opacity: float


def bridge_and_fade(sightings: Iterable[Sighting], rate: Fraction) -> Iterator[Shown]:
    """Bridge the gaps between sightings, or fade out and in around them.

    A gap is bridged linearly where the face continues behind it, up to BRIDGED_SECONDS. Frames are held back for as
    long as what follows may change them, at most BRIDGED_SECONDS + FADE_SECONDS.

    Args:
        sightings: of consecutive frames.
        rate: frames per second.
    """
    fade = rate * FADE_SECONDS
    ahead = max(math.ceil(fade) - 1, 0)
    waiting: deque[Shown] = deque()
    since: int | None = None  # frames since the last one without a value

    def opacity(distance: int) -> float:
        return min(distance / float(fade), 1.0)

    for value, seen in _bridged(sightings, int(rate * BRIDGED_SECONDS)):
        if value is None:
            for k, shown in enumerate(reversed(waiting)):
                waiting[-1 - k] = replace(shown, opacity=min(shown.opacity, opacity(k + 1)))
            since = 0
            waiting.append(Shown(None, seen, 0.0))
        else:
            since = None if since is None else since + 1
            waiting.append(Shown(value, seen, 1.0 if since is None else opacity(since)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _bridged(sightings: Iterable[Sighting], longest: int) -> Iterator[tuple[torch.Tensor | None, bool]]:
    """Yield the value of each frame and whether it is its own; interpolated in gaps of up to `longest` frames."""
    last: torch.Tensor | None = None  # None where a gap that is open is too long already
    gap = 0  # frames held back
    for value, continues in sightings:
        if value is None:
            gap += 1
            if last is None or gap > longest:
                yield from [(None, False)] * gap
                last, gap = None, 0
            continue
        for k in range(1, gap + 1):
            between = torch.lerp(last, value, k / (gap + 1)) if last is not None and continues else None
            yield between, False
        yield value, True
        last, gap = value, 0
    yield from [(None, False)] * gap


@dataclass(frozen=True)
class SourceChunk:
    """Consecutive source frames with their face.

    Attributes:
        tracked: with landmarks, and `present`, where the face is to be animated.
        seen: bool [N], whether the frame itself shows the face.
        opacity: float32 [N], of the animation.
    """

    tracked: TrackedChunk
    seen: torch.Tensor
    opacity: torch.Tensor

    def __len__(self) -> int:
        return len(self.tracked)

    def hold(self, count: int) -> SourceChunk:
        """Return a chunk that shows the last frame `count` times."""
        return SourceChunk(
            self.tracked.hold(count), self.seen[-1:].expand(count), self.opacity[-1:].expand(count)
        )


def mend_source(
    chunks: Iterable[TrackedChunk],
    through: Callable[[Iterable[TrackedChunk]], Iterator[TrackedChunk]],
    rate: Fraction,
) -> Iterator[SourceChunk]:
    """Bridge the gaps in a source's track, or fade around them, before its chunks go through a session.

    Args:
        chunks: of the clip, in order.
        through: the session's `source`.
        rate: frames per second of the clip.
    """
    marks: deque[tuple[torch.Tensor, torch.Tensor]] = deque()  # `seen` and `opacity` of chunks on their way

    def mended() -> Iterator[TrackedChunk]:
        waiting: deque[TrackedChunk] = deque()
        continuity = Continuity()

        def sightings() -> Iterator[Sighting]:
            for chunk in chunks:
                waiting.append(chunk)
                for k, present in enumerate(chunk.present.tolist()):
                    yield (chunk.landmarks[k], not continuity.begins(chunk, k)) if present else (None, False)

        done: list[Shown] = []
        for shown in bridge_and_fade(sightings(), rate):
            done.append(shown)
            if len(done) == len(waiting[0]):
                chunk = waiting.popleft()
                seen = chunk.present
                marks.append((seen, torch.tensor([frame.opacity for frame in done])))
                yield _with_track(chunk, done)
                done.clear()

    for tracked in through(mended()):
        yield SourceChunk(tracked, *marks.popleft())


def _with_track(chunk: TrackedChunk, shown: list[Shown]) -> TrackedChunk:
    """Return the chunk with landmarks in the frames whose gap is bridged."""
    bridged = [k for k, frame in enumerate(shown) if frame.value is not None and not frame.seen]
    if not bridged:
        return chunk
    landmarks, present = chunk.landmarks.clone(), chunk.present.clone()
    landmarks[bridged] = torch.stack([frame.value for k in bridged if (frame := shown[k]).value is not None])
    present[bridged] = True
    return replace(chunk, landmarks=landmarks, present=present)
