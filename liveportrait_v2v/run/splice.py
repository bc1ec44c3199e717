"""Driving motion at the moment of an output frame, and frames without a face: the one place that passes them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..engines.base import RenderedFrames
from ..faces import FaceSquare
from ..tracking import TrackedChunk

Render = Callable[[TrackedChunk, torch.Tensor, bool], RenderedFrames]


@dataclass(frozen=True)
class DrivingMotion:
    """The driving motion at the moment of one output frame.

    Attributes:
        before, after: motions of the driving frames on both sides of that moment, None without a face.
        fraction: place between them, 0..1.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    fraction: float

    @property
    def missing(self) -> bool:
        """Whether there is no motion: the nearer of the two frames has no face."""
        return self._nearer() is None

    def motion(self) -> torch.Tensor | None:
        """Return the motion at that moment, interpolated linearly; the nearer frame's where one has no face."""
        if self.before is None or self.after is None:
            return self._nearer()
        return torch.lerp(self.before, self.after, self.fraction)

    def _nearer(self) -> torch.Tensor | None:
        return self.before if self.fraction < 0.5 else self.after


def splice(
    render: Render, chunk: TrackedChunk, driving: Sequence[DrivingMotion], masks: bool = False
) -> RenderedFrames:
    """Render the frames in which both faces are present; the others show the source unchanged.

    Args:
        render: a session's, called for each run of consecutive frames with both faces.
        chunk: N source frames; not modified.
        driving: what leads each of them.
        masks: give the mask as well: 0 everywhere in frames that are passed on.
    """
    present = chunk.present.tolist()
    motions = [moment.motion() if seen else None for moment, seen in zip(driving, present, strict=True)]
    runs = list(_runs(motions))
    if len(runs) == 1 and len(runs[0][1]) == len(chunk):
        return render(chunk, torch.stack(runs[0][1]), masks)
    count = len(chunk)
    frames = chunk.frames.clone() if runs else chunk.frames
    mask = torch.zeros(frames.shape[:3], device=frames.device) if masks else None
    square = FaceSquare(torch.zeros(count, 2), torch.eye(2).repeat(count, 1, 1), torch.zeros(count))
    for start, led in runs:
        part = slice(start, start + len(led))
        rendered = render(chunk[part], torch.stack(led), masks).settled()
        frames[part] = rendered.frames
        if mask is not None and rendered.mask is not None:
            mask[part] = rendered.mask
        (own,) = rendered.squares
        square.center[part], square.axes[part], square.side[part] = own.center, own.axes, own.side
    return RenderedFrames(frames, mask, (square,))


def _runs(motions: Sequence[torch.Tensor | None]) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """Yield each run of consecutive frames that have a motion: its first frame and the motions."""
    run: list[torch.Tensor] = []
    for k, motion in enumerate([*motions, None]):
        if motion is not None:
            run.append(motion)
        elif run:
            yield k - len(run), run
            run = []
