"""Scene cuts, found by the change of a coarse picture from one frame to the next, as a whole and around a face."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .boxes import centre

SURROUNDINGS_FACE_SIZES = 2
"""Sides of what is compared around a face, in sides of its box: face and background weigh about the same."""
SAME_CORRELATION = 0.55
"""Correlation of a face's surroundings from which two pictures show one scene.

Measured on the real clips: from one frame to the next 0.67 and more (0.82 but for a small face at 12 frames a second),
under another exposure 0.85 and more, between two persons at one place and size 0.47 at most.
"""
FLAT_LEVELS = 2.0
"""Standard deviation below which surroundings show nothing that could be compared."""
CHANGED_LEVELS = 24.0
"""Mean difference of a pixel's three channels from which it changed: more than noise and compression do."""


@dataclass(frozen=True)
class Glance:
    """A coarse picture of one frame.

    Attributes:
        cut: the whole picture changed: another scene begins.
        pixels: float32 [h, w, 3]: pixels of the frame, 32 to 63 a side where it has as many.
        step: rows and columns of the frame from one of them to the next.
    """

    cut: bool
    pixels: np.ndarray
    step: tuple[int, int]

    def around(self, box: Sequence[float]) -> np.ndarray:
        """Return the part [y, x, 3] around a face's box (x0, y0, x1, y1) in frame pixels; at least 2 x 2."""
        return self.pixels[self._around(box)]

    def _around(self, box: Sequence[float]) -> tuple[slice, slice]:
        """Return the rows and columns of `pixels` around a face's box."""
        x, y = centre(box)
        spans = []
        for middle, side, step, count in (
            (y, box[3] - box[1], self.step[0], self.pixels.shape[0]),
            (x, box[2] - box[0], self.step[1], self.pixels.shape[1]),
        ):
            reach = max(side * SURROUNDINGS_FACE_SIZES / 2, step)
            low = min(max(int((middle - reach) / step), 0), max(count - 2, 0))
            spans.append(slice(low, max(int((middle + reach) / step) + 1, low + 2)))
        return spans[0], spans[1]

    def shows_same(self, other: Glance, box: Sequence[float]) -> bool:
        """Return whether both show one scene around a face's box, whatever their exposure.

        Flat surroundings are the same as flat ones, and different from all others.
        """
        if self.pixels.shape != other.pixels.shape:
            return False
        one, two = (part - part.mean((0, 1), keepdims=True) for part in (self.around(box), other.around(box)))
        one_power, two_power, shared = ((a * b).mean() for a, b in ((one, one), (two, two), (one, two)))
        flat = one_power < FLAT_LEVELS**2, two_power < FLAT_LEVELS**2
        if any(flat):
            return all(flat)
        return bool(shared >= SAME_CORRELATION * np.sqrt(one_power * two_power))

    def changed(self, other: Glance, boxes: Iterable[Sequence[float]]) -> int:
        """Return how many pixels changed since another glance outside the surroundings of some faces' boxes."""
        if self.pixels.shape != other.pixels.shape:
            return self.pixels.shape[0] * self.pixels.shape[1]
        differs = np.abs(self.pixels - other.pixels).mean(2) >= CHANGED_LEVELS
        for box in boxes:
            differs[self._around(box)] = False
        return int(differs.sum())


class CutFinder:
    """Detector of scene cuts; takes the frames of a clip in order.

    A cut changes the coarse picture by more than 25 of 255 levels on average, and by more than four times the
    running mean of recent changes, so that a shaking camera or a flicker does not count as one.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._usual = 4.0

    def find(self, frames: Tensor) -> list[Glance]:
        """Return a glance at each of the frames uint8 [N, H, W, 3]; a clip's first is no cut."""
        height, width = frames.shape[1:3]
        step_y, step_x = max(height // 32, 1), max(width // 32, 1)
        coarse = frames[:, step_y // 2 :: step_y, step_x // 2 :: step_x].float()
        last = coarse[:1] if self._last is None or self._last.shape != coarse[:1].shape else self._last
        changes = (coarse - torch.cat((last, coarse[:-1]))).abs().mean((1, 2, 3)).tolist()
        self._last = coarse[-1:]
        glances = []
        for change, pixels in zip(changes, coarse.cpu().numpy(), strict=True):
            cut = change > 25 and change > 4 * self._usual
            glances.append(Glance(cut, pixels, (step_y, step_x)))
            self._usual += (min(change, 25.0) - self._usual) / 8
        return glances
