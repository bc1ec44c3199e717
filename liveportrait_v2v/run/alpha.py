"""The alpha of the source, which passes a run unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ..engines.base import RenderedFrames
from ..media import Clip
from ..plan import Pairing


class AlphaTrack:
    """The source's alpha, read beside the run, for frames in the order of the result."""

    def __init__(self, source: Clip, pairing: Pairing):
        """Take the source of a plan with its timing."""
        self._source, self._pairing = source, pairing
        self._planes: Iterator[torch.Tensor] = iter(())
        self._lap = self._at = -1
        self._plane = torch.empty(0)
        self._frame = 0

    def added_to(self, rendered: RenderedFrames) -> RenderedFrames:
        """Return the next frames of the result as RGBA, uint8 [N, H, W, 4], with straight colours."""
        planes = torch.stack([self._next() for _ in range(len(rendered))])
        return replace(rendered, frames=torch.cat((rendered.frames, planes[..., None]), 3))

    def _next(self) -> torch.Tensor:
        """Return the alpha of the next frame, uint8 [H, W]."""
        lap, number = self._pairing.source_at(self._frame)
        self._frame += 1
        if lap != self._lap:
            chunks = self._source.chunks(4, alpha=True)
            self._planes = (frame[..., 3] for chunk in chunks for frame in chunk.frames)
            self._lap, self._at = lap, -1
        while self._at < number:
            self._plane, self._at = next(self._planes), self._at + 1
        return self._plane
