"""Driving motion at the moment of an output frame, and frames without a face: the one place that passes them on.

`gaps` has settled before which of them are bridged, and how far their neighbours fade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from ..engines.base import NO_CROPS, Edits, RenderedFrames
from ..faces import FaceSquare
from ..tracking import TrackedChunk
from .gaps import Shown

_Led = tuple[torch.Tensor | None, torch.Tensor | None]  # the motion that leads a frame, and what is edited


class Render(Protocol):
    """A session's `render`; edits are given only where there are any."""

    def __call__(
        self, chunk: TrackedChunk, driving: torch.Tensor | None, masks: bool, edits: Edits | None = None, /
    ) -> RenderedFrames:
        """Render frames."""


@dataclass(frozen=True)
class DrivingMotion:
    """The driving motion at the moment of one output frame.

    Attributes:
        before, after: motions of the driving frames on both sides of that moment, None without one.
        fraction: place between them, 0..1.
        missing: the nearer of the two frames does not show the face; its motion may be interpolated.
        opacity: of the animation, 0..1.
        edit: what an expression adds, float32 [K]; None for nothing.
        driven: there is a driving clip or template.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    fraction: float
    missing: bool = False
    opacity: float = 1.0
    edit: torch.Tensor | None = None
    driven: bool = True

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

    def led(self) -> _Led | None:
        """Return the motion at that moment and what is edited; None where the source frame stays as it is."""
        if not self.driven:
            return None if self.edit is None else (None, self.edit)
        motion = self.motion()
        return None if motion is None else (motion, self.edit)


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
    moments = [moment.led() if shown else None for moment, shown in zip(driving, present, strict=True)]
    shares = torch.tensor([moment.opacity for moment in driving])
    shares = shares if opacity is None else shares * opacity
    runs = list(_runs(moments))
    if len(runs) == 1 and len(runs[0][1]) == len(chunk) and bool((shares == 1).all()):
        return _rendered(render, chunk, runs[0][1], masks)
    count = len(chunk)
    frames = chunk.frames.clone() if runs else chunk.frames
    mask = torch.zeros(frames.shape[:3], device=frames.device) if masks else None
    square = FaceSquare.none(count)
    pictures: list[tuple[torch.Tensor, ...]] = []
    covered: list[int] = []
    shut: list[int] = []
    for start, led in runs:
        part = slice(start, start + len(led))
        rendered = _rendered(render, chunk[part], led, masks).settled()
        rendered = _faded(rendered, chunk.frames[part], shares[part])
        frames[part] = rendered.frames
        if mask is not None and rendered.mask is not None:
            mask[part] = rendered.mask
        (own,) = rendered.squares
        square.center[part], square.axes[part], square.side[part] = own.center, own.axes, own.side
        pictures.append(rendered.crops)
        covered += [start + k for k in rendered.covered]
        shut += [start + k for k in rendered.shut]
    crops = tuple(torch.cat(parts) for parts in zip(*pictures, strict=True)) if runs else (NO_CROPS,)
    return RenderedFrames(frames, mask, (square,), crops, tuple(covered), tuple(shut))


def _rendered(render: Render, chunk: TrackedChunk, led: Sequence[_Led], masks: bool) -> RenderedFrames:
    """Render frames that are all led or edited."""
    motions = [motion for motion, _ in led if motion is not None]
    edits = [edit for _, edit in led if edit is not None]
    led_by = torch.stack(motions) if motions else None
    edited = Edits(torch.stack(edits)) if edits else None
    if edited is None or not edited.changed.any():
        return render(chunk, led_by, masks)
    return render(chunk, led_by, masks, edited)


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


def _runs(moments: Sequence[_Led | None]) -> Iterator[tuple[int, list[_Led]]]:
    """Yield each run of consecutive frames that are led: its first frame, and what leads them."""
    run: list[_Led] = []
    for k, led in enumerate([*moments, None]):
        if led is not None:
            run.append(led)
        elif run:
            yield k - len(run), run
            run = []
