"""Driving motion at the moment of an output frame, and frames without a face: the one place that passes them on.

`gaps` has settled before which of them are bridged, and how far their neighbours fade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..engines.base import NO_CROPS, RenderedFrames
from ..faces import FaceSquare
from ..tracking import TrackedChunk
from .gaps import Shown

Render = Callable[[TrackedChunk, torch.Tensor, bool], RenderedFrames]


@dataclass(frozen=True)
class DrivingMotion:
    """The driving motion at the moment of one output frame.

    Attributes:
        before, after: motions of the driving frames on both sides of that moment, None without one.
        fraction: place between them, 0..1.
        missing: the nearer of the two frames does not show the face; its motion may be interpolated.
        opacity: of the animation, 0..1.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    fraction: float
    missing: bool = False
    opacity: float = 1.0

    @classmethod
    def between(cls, before: Shown, after: Shown, fraction: float) -> DrivingMotion:
        """Return the motion at a place between two driving frames, 0..1."""
        missing = not (before if fraction < 0.5 else after).seen
        opacity = before.opacity + fraction * (after.opacity - before.opacity)
        return cls(before.value, after.value, fraction, missing, opacity)

    def motion(self) -> torch.Tensor | None:
        """Return the motion at that moment, interpolated linearly; that of the one frame that has any.

        Returns:
            None where nothing of it is to be seen.
        """
        if self.opacity == 0:
            return None
        if self.before is None or self.after is None:
            return self.after if self.before is None else self.before
        return torch.lerp(self.before, self.after, self.fraction)


def splice(
    render: Render,
    chunk: TrackedChunk,
    driving: Sequence[DrivingMotion],
    masks: bool = False,
    opacity: torch.Tensor | None = None,
) -> RenderedFrames:
    """Render the frames that have both faces; the others show the source unchanged, and near them frames fade.

    Args:
        render: a session's, called for each run of consecutive frames with both faces.
        chunk: N source frames; not modified.
        driving: what leads each of them.
        masks: give the mask as well: 0 everywhere in frames that are passed on.
        opacity: of the animation by the source's own gaps, float32 [N]; 1 where left out.
    """
    present = chunk.present.tolist()
    motions = [moment.motion() if shown else None for moment, shown in zip(driving, present, strict=True)]
    shares = torch.tensor([moment.opacity for moment in driving])
    shares = shares if opacity is None else shares * opacity
    runs = list(_runs(motions))
    if len(runs) == 1 and len(runs[0][1]) == len(chunk) and bool((shares == 1).all()):
        return render(chunk, torch.stack(runs[0][1]), masks)
    count = len(chunk)
    frames = chunk.frames.clone() if runs else chunk.frames
    mask = torch.zeros(frames.shape[:3], device=frames.device) if masks else None
    square = FaceSquare.none(count)
    pictures: list[tuple[torch.Tensor, ...]] = []
    for start, led in runs:
        part = slice(start, start + len(led))
        rendered = render(chunk[part], torch.stack(led), masks).settled()
        rendered = _faded(rendered, chunk.frames[part], shares[part])
        frames[part] = rendered.frames
        if mask is not None and rendered.mask is not None:
            mask[part] = rendered.mask
        (own,) = rendered.squares
        square.center[part], square.axes[part], square.side[part] = own.center, own.axes, own.side
        pictures.append(rendered.crops)
    crops = tuple(torch.cat(parts) for parts in zip(*pictures, strict=True)) if runs else (NO_CROPS,)
    return RenderedFrames(frames, mask, (square,), crops)


def _faded(rendered: RenderedFrames, source: torch.Tensor, opacity: torch.Tensor) -> RenderedFrames:
    """Blend rendered frames with the source's, uint8 [N, H, W, 3], by the opacity of each, float32 [N]."""
    frames, mask = rendered.frames, rendered.mask
    fading = [k for k, share in enumerate(opacity.tolist()) if share < 1]
    if not fading:
        return rendered
    share = opacity[fading].to(frames.device).view(-1, 1, 1)
    frames = frames.clone()
    blended = torch.lerp(source[fading].float(), frames[fading].float(), share.unsqueeze(-1))
    frames[fading] = blended.round().to(torch.uint8)
    if mask is not None:
        mask = mask.clone()
        mask[fading] *= share
    return replace(rendered, frames=frames, mask=mask)


def _runs(motions: Sequence[torch.Tensor | None]) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """Yield each run of consecutive frames that have a motion: its first frame and the motions."""
    run: list[torch.Tensor] = []
    for k, motion in enumerate([*motions, None]):
        if motion is not None:
            run.append(motion)
        elif run:
            yield k - len(run), run
            run = []
