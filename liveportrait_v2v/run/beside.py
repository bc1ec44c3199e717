"""What a result keeps of the source beside what an engine sees: its alpha, and its colours of more than 8 bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ..engines.base import Engine, HostedEngine, RenderedFrames
from ..media import Clip, keeps_alpha
from ..media.info import rounding_note
from ..plan import Pairing, RunPlan


class _SourceFrames:
    """The source's frames in the order of the result, read beside the run."""

    def __init__(self, source: Clip, pairing: Pairing, *, alpha: bool = False, deep: bool = False):
        self._source, self._pairing = source, pairing
        self._alpha, self._deep = alpha, deep
        self._frames: Iterator[torch.Tensor] = iter(())
        self._lap = self._at = -1
        self._shown = torch.empty(0)
        self._count = 0

    def next(self) -> torch.Tensor:
        """Return the next frame [H, W, C], as `Clip.chunks` gives it."""
        lap, number = self._pairing.source_at(self._count)
        self._count += 1
        if lap != self._lap:
            chunks = self._source.chunks(4, alpha=self._alpha, deep=self._deep)
            self._frames = (frame for chunk in chunks for frame in chunk.frames)
            self._lap, self._at = lap, -1
        while self._at < number:
            self._shown, self._at = next(self._frames), self._at + 1
        return self._shown


class AlphaTrack:
    """The source's alpha, which passes a run unchanged."""

    def __init__(self, source: Clip, pairing: Pairing):
        """Take the source of a plan with its timing."""
        self._source = _SourceFrames(source, pairing, alpha=True)

    def added_to(self, rendered: RenderedFrames) -> RenderedFrames:
        """Return the next frames of the result as RGBA, uint8 [N, H, W, 4], with straight colours."""
        planes = torch.stack([self._source.next()[..., 3] for _ in range(len(rendered))])
        return replace(rendered, frames=torch.cat((rendered.frames, planes[..., None]), 3))


class DepthTrack:
    """The source's colours of more than 8 bits, where nothing was pasted over them."""

    def __init__(self, source: Clip, pairing: Pairing):
        """Take the source of a plan with its timing."""
        self._source = _SourceFrames(source, pairing, deep=True)

    def under(self, rendered: RenderedFrames) -> torch.Tensor:
        """Return the next frames of the result, which have a mask, as uint16 [N, H, W, 3] of `Clip.chunks(deep=True)`.

        Where the mask is 0 they are the source's, elsewhere those of 8 bits.
        """
        assert rendered.mask is not None  # the run was asked for it
        frames = rendered.frames.numpy().astype(np.uint16) * 256
        for frame, mask in zip(frames, rendered.mask.numpy(), strict=True):
            np.copyto(frame, self._source.next().numpy(), where=(mask == 0)[..., None])
        return torch.from_numpy(frames)


def with_alpha(
    plan: RunPlan,
    engine: Engine | HostedEngine,
    output: str | os.PathLike[str] | None,
    asked: bool,
    depth: int,
) -> tuple[RunPlan, AlphaTrack | None, tuple[str, ...]]:
    """Return the plan with straight colours and what gives their alpha, where it is kept; and notes where it isn't."""
    if not plan.source.info.has_alpha:
        return plan, None, ()
    in_file = output is not None and keeps_alpha(output) and depth == 8
    note = "the source clip has an alpha channel; the result is over black"
    if isinstance(engine, HostedEngine) or not (asked or in_file):
        return plan, None, (note,)
    notes = (note.replace("result", "file"),) if output is not None and not in_file else ()
    track = AlphaTrack(plan.source, plan.pairings[0])
    return replace(plan, source=plan.source.straight()), track, notes


def with_depth(plan: RunPlan, depth: int) -> tuple[RunPlan, DepthTrack | None]:
    """Return the plan with notes of what a file of this depth keeps, and what gives its colours; None for 8 bits."""
    if depth == 8:
        return plan, None
    stored = plan.source.info.depth
    if stored == 8:
        note = f"the source clip has 8 bits a colour; the {depth} of the file hold no more than these"
        return replace(plan, notes=(*plan.notes, note)), None
    rounded = f"the source clip {rounding_note(stored)}"
    notes = tuple(note for note in plan.notes if note != rounded)
    note = f"the source clip has {stored} bits a colour; the file has {depth} where nothing is pasted, and faces of 8"
    return replace(plan, notes=(*notes, note)), DepthTrack(plan.source, plan.pairings[0])
