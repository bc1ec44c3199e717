"""Affine maps of the plane, over many pixels at once.

Places of pixels are planes of their x and their y, [N, 2, h, w]: side by side, as pairs, they take several times as
long to make, and sampling has to take them apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from ...compose import PixelRect
from ...faces import FaceSquare


@dataclass(frozen=True)
class Affine:
    """N maps that take (x, y) to center + x * axes[0] + y * axes[1].

    Attributes:
        center: float [N, 2].
        axes: float [N, 2, 2], rows.
    """

    center: torch.Tensor
    axes: torch.Tensor

    @cached_property
    def inverse(self) -> Affine:
        """The maps back; of one that takes all to a line, they take all to the place (0, 0)."""
        # Written out: a solver takes several times as long as all of these.
        a, b, c, d = self.axes.flatten(1).unbind(1)
        area = a * d - b * c
        share = torch.where(area == 0, area, 1 / area).view(-1, 1, 1)
        axes = share * torch.stack((d, -b, -c, a), dim=1).view(-1, 2, 2)
        return Affine(-_product(self.center, axes), axes)

    def then(self, other: Affine) -> Affine:
        """Return these maps with others behind them."""
        return Affine(other.center + _product(self.center, other.axes), self.axes @ other.axes)

    def of(self, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """Return where the maps take places x and y [N, h, w], float32 [N, 2, h, w].

        Args:
            start: where they take (0, 0) at each place [N, 2, h, w], in place of the centre.
        """
        start = self.center[..., None, None] if start is None else start
        along, down = self.axes[..., None, None].unbind(1)
        return torch.addcmul(start, x.unsqueeze(1), along).addcmul_(y.unsqueeze(1), down)

    def over(self, rects: Sequence[PixelRect]) -> torch.Tensor:
        """Return where the maps take the centres of the pixels of M rectangles of one size, float32 [N, 2, h, w].

        The first N / M maps take those of the first rectangle, and so on.
        """
        device = self.axes.device
        height, width = rects[0].bottom - rects[0].top, rects[0].right - rects[0].left
        corners = torch.tensor([[rect.left + 0.5, rect.top + 0.5] for rect in rects])
        corners = _for_each(corners.to(device, non_blocking=True), len(self.axes) // len(rects))
        first = (self.center + _product(corners, self.axes))[..., None, None]
        along, down = self.axes[..., None, None].unbind(1)
        rows = torch.addcmul(first, down, _steps(height, device).unsqueeze(-1))
        return torch.addcmul(rows, along, _steps(width, device))


def from_square(square: FaceSquare, size: float, times: int = 1) -> Affine:
    """Return the maps from crops of `size` pixels a side to pixels of the frame; all of them repeated."""
    axes = square.axes * (square.side / size).view(-1, 1, 1)
    return Affine((square.center - size / 2 * axes.sum(1)).repeat(times, 1), axes.repeat(times, 1, 1))


def to_sampling(rects: Sequence[PixelRect], count: int, device: torch.device) -> Affine:
    """Return the maps from pixels of the frame to grid_sample's places in M rectangles of one size.

    Args:
        count: maps for each rectangle.
    """
    offsets, scales = zip(*(rect.sampling(device) for rect in rects), strict=True)
    centers = _for_each(torch.stack(offsets), count)
    return Affine(centers, torch.diag(scales[0]).expand(len(centers), 2, 2))


def _product(places: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Return places [N, 2] times axes [N, 2, 2]."""
    return (places.unsqueeze(1) @ axes).squeeze(1)


def _for_each(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Repeat each row `count` times."""
    return rows if count == 1 else rows.repeat_interleave(count, dim=0)


@lru_cache(maxsize=64)
def _steps(count: int, device: torch.device) -> torch.Tensor:
    """Return 0 to count - 1, float32. Shared: do not write into it."""
    return torch.arange(count, dtype=torch.float32, device=device)
