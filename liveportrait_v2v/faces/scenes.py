"""Scene cuts, found by the change of a coarse picture from one frame to the next."""

from __future__ import annotations

import torch
from torch import Tensor


class CutFinder:
    """Detector of scene cuts; takes the frames of a clip in order.

    A cut changes the coarse picture by more than 25 of 255 levels on average, and by more than four times the
    running mean of recent changes, so that a shaking camera or a flicker does not count as one.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._usual = 4.0

    def find(self, frames: Tensor) -> list[bool]:
        """Return whether each of the frames uint8 [N, H, W, 3] begins another scene; a clip's first does not."""
        height, width = frames.shape[1:3]
        step_y, step_x = max(height // 32, 1), max(width // 32, 1)
        coarse = frames[:, step_y // 2 :: step_y, step_x // 2 :: step_x].float()
        last = coarse[:1] if self._last is None or self._last.shape != coarse[:1].shape else self._last
        changes = (coarse - torch.cat((last, coarse[:-1]))).abs().mean((1, 2, 3)).tolist()
        self._last = coarse[-1:]
        cuts = []
        for change in changes:
            cuts.append(change > 25 and change > 4 * self._usual)
            self._usual += (min(change, 25.0) - self._usual) / 8
        return cuts
