"""Cutting a face's square out of frames and blending a rendered one back, on whatever device the frames are on.

Only the region of the frame around the square is processed. Coordinates are continuous, so a crop of any size
covers exactly the same square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
import torch.nn.functional as F

from .faces import FaceSquare
from .resampling import resize

FEATHER = 16 / 512
"""Width of the ramp at the edges of a pasted square, in its sides, and radius of its corners: LivePortrait's."""
WIDE_FEATHER = 0.25
"""The same where nothing holds the border of what is pasted in place: the middle half of the square is opaque."""


@dataclass(frozen=True)
class PixelRect:
    """The rows and columns of a frame that a chunk's squares touch; empty if no square reaches into the frame."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def empty(self) -> bool:
        """Whether the rectangle holds no pixel."""
        return self.bottom <= self.top or self.right <= self.left

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, frames: torch.Tensor) -> torch.Tensor:
        """Return this part of frames [N, H, W, C] as a view."""
        return frames[:, self.top : self.bottom, self.left : self.right]

    def part(self, rows: slice, columns: slice) -> PixelRect:
        """Return some of the rows and columns."""
        return PixelRect(
            self.top + rows.start, self.left + columns.start, self.top + rows.stop, self.left + columns.stop
        )

    def to_square(self, transform: FaceSquare) -> torch.Tensor:
        """Return the region's pixel centres in each square, 0..1 from edge to edge: float32 [N, h, w, 2]."""
        device = transform.side.device
        x = torch.arange(self.left, self.right, device=device) + 0.5
        y = torch.arange(self.top, self.bottom, device=device) + 0.5
        return _affine_grid(transform.m_o2c(1), x, y)

    def sampling(self, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return offset and scale, float32 [2]: of a place in the frame, offset + place * scale is grid_sample's."""
        scale = 2 / (self.right - self.left), 2 / (self.bottom - self.top)
        return _on(device, -1 - self.left * scale[0], -1 - self.top * scale[1]), _on(device, *scale)

    def sample_at(self, points: torch.Tensor) -> torch.Tensor:
        """Turn frame coordinates [..., 2] into grid_sample's coordinates of this region."""
        offset, scale = self.sampling(points.device)
        return torch.addcmul(offset, points, scale)

    def identity(self, device: torch.device | str) -> torch.Tensor:
        """Return the sampling grid that leaves the region unchanged, float32 [h, w, 2]."""
        width, height = self.right - self.left, self.bottom - self.top
        x = (torch.arange(width, device=device) * 2 + 1) / width - 1
        y = (torch.arange(height, device=device) * 2 + 1) / height - 1
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)

    def box(self, points: torch.Tensor, margin: int = 2) -> tuple[slice, slice]:
        """Return the region's rows and columns around points [..., 2] in frame coordinates; possibly empty."""
        return self.boxes(points.reshape(1, -1, 2), margin)[0].within(self)

    def boxes(self, points: torch.Tensor, margin: int = 2) -> list[PixelRect]:
        """Return the parts around points [M, ..., 2] in frame coordinates, M rectangles of one size.

        All are empty if one of them is outside.
        """
        low, high = points.flatten(1, -2).cpu().aminmax(dim=1)
        first = [[math.floor(place - margin) for place in row] for row in low.tolist()]
        last = [[math.ceil(place + margin) for place in row] for row in high.tolist()]
        rects = [
            PixelRect(
                min(max(low[1], self.top), self.bottom), min(max(low[0], self.left), self.right),
                min(max(high[1], self.top), self.bottom), min(max(high[0], self.left), self.right),
            )
            for low, high in zip(first, last, strict=True)
        ]  # fmt: skip
        if any(rect.empty for rect in rects):
            return [PixelRect(self.top, self.left, self.top, self.left)] * len(rects)
        height = max(rect.bottom - rect.top for rect in rects)
        width = max(rect.right - rect.left for rect in rects)
        corners = [
            (min(rect.top, self.bottom - height), min(rect.left, self.right - width)) for rect in rects
        ]
        return [PixelRect(top, left, top + height, left + width) for top, left in corners]

    def within(self, region: PixelRect) -> tuple[slice, slice]:
        """Return the rows and columns of a region that this part of it takes."""
        return (
            slice(self.top - region.top, self.bottom - region.top),
            slice(self.left - region.left, self.right - region.left),
        )

    def pixels(self, device: torch.device | str) -> torch.Tensor:
        """Return the pixels' centres in frame coordinates, float32 [h, w, 2]."""
        corner = _on(device, self.left + 0.5, self.top + 0.5)
        return _grid(self.bottom - self.top, self.right - self.left, corner.device) + corner


@lru_cache(maxsize=16)
def _grid(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return columns and rows of a rectangle, float32 [h, w, 2]."""
    x, y = (torch.arange(size, dtype=torch.float32, device=device) for size in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


@lru_cache(maxsize=256)
def _on(device: torch.device | str, *numbers: float) -> torch.Tensor:
    """Put numbers on a device, float32, without waiting for a GPU's work. Shared: do not write into the tensor."""
    return torch.tensor(numbers, dtype=torch.float32).to(device, non_blocking=True)


def rect_of(transform: FaceSquare, height: int, width: int, margin: int = 2) -> PixelRect:
    """Return the rectangle inside the frame that holds every square of a chunk, with room for interpolation."""
    corners = transform.corners().cpu()
    low = (corners.amin((0, 1)) - margin).floor().int().tolist()
    high = (corners.amax((0, 1)) + margin).ceil().int().tolist()
    return PixelRect(max(low[1], 0), max(low[0], 0), min(high[1], height), min(high[0], width))


def _affine_grid(matrix: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Apply matrices [N, 3, 3] to every (x, y) of two axes [w] and [h]: [N, h, w, 2]."""
    rows = matrix[:, :2, 1].view(-1, 1, 1, 2) * y.view(1, -1, 1, 1) + matrix[:, :2, 2].view(-1, 1, 1, 2)
    return torch.addcmul(rows, matrix[:, :2, 0].view(-1, 1, 1, 2), x.view(1, 1, -1, 1))


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """Convert uint8 [N, H, W, 3] to float32 [N, 3, H, W] in 0..255."""
    return frames.permute(0, 3, 1, 2).contiguous().float()


def crop(
    frames: torch.Tensor, transform: FaceSquare, size: int, mode: str = "bilinear", beyond: str = "zeros"
) -> torch.Tensor:
    """Sample each frame's square.

    Args:
        frames: uint8 [N, H, W, 3].
        transform: one square per frame, or one for all of them.
        size: side of the crops in pixels.
        mode: of interpolation, "bilinear" or "bicubic"; the latter may go below 0 and above 1.
        beyond: what lies outside the frame: "zeros" is black, "border" the nearest pixel of the frame.

    Returns:
        float32 [N, 3, size, size] in 0..1.
    """
    n, height, width, _ = frames.shape
    region = rect_of(transform, height, width)
    if region.empty:
        return torch.zeros(n, 3, size, size, device=frames.device)
    transform = transform.to(frames.device)
    axis = torch.arange(size, device=frames.device) + 0.5
    grid = region.sample_at(_affine_grid(transform.m_c2o(size), axis, axis))
    pictures, grid = to_float(region.of(frames)), grid.expand(n, -1, -1, -1)
    return F.grid_sample(pictures, grid, mode=mode, padding_mode=beyond, align_corners=False).mul_(1 / 255)


def border_mask(coordinates: torch.Tensor, feather: float = FEATHER) -> torch.Tensor:
    """Opacity of a pasted square: 1 inside, a linear ramp at the edges, rounded corners, 0 outside.

    Args:
        coordinates: float [..., 2], place in the square, 0..1 from edge to edge.
        feather: width of the ramp, and radius of the corners, in sides of the square.

    Returns:
        float [...] in 0..1.
    """
    outside = (coordinates - 0.5).abs() - (0.5 - feather)
    distance = outside.clamp_min(0).norm(dim=-1) + outside.amax(-1).clamp_max(0) - feather
    return (-distance / feather).clamp(0, 1)


def square_mask(size: int) -> torch.Tensor:
    """Return the opacity of a pasted square in crop space, float32 [size, size] in 0..1."""
    axis = (torch.arange(size) + 0.5) / size
    return border_mask(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1))


def blend(frames: torch.Tensor, pictures: torch.Tensor, mask: torch.Tensor, region: PixelRect) -> None:
    """Blend pictures into a region: mask * picture + (1 - mask) * frame, rounded.

    Pixels with mask 0 are byte-identical.

    Args:
        frames: uint8 [N, H, W, 3]; modified.
        pictures: float [N, 3, h, w] in 0..255, of the region.
        mask: float [N, h, w] in 0..1.
    """
    part = region.of(frames)
    mixed = torch.lerp(to_float(part), pictures, mask.unsqueeze(1)).round_().clamp_(0, 255)
    # Bytes first: twice as quick as copying them into another order while they are turned into bytes.
    part.copy_(torch.stack(mixed.to(torch.uint8).unbind(1), dim=-1))


def pasted_mask(
    frames: torch.Tensor, square: FaceSquare, own: torch.Tensor | None = None, feather: float = FEATHER
) -> torch.Tensor:
    """Return the opacity with which `paste_back` blends squares into frames.

    Args:
        frames: uint8 [N, H, W, 3].
        square: one square per frame.
        own, feather: as in `paste_back`.

    Returns:
        float32 [N, H, W] in 0..1, on the frames' device.
    """
    _, height, width, _ = frames.shape
    mask = torch.zeros(frames.shape[:3], device=frames.device)
    region = rect_of(square, height, width)
    if not region.empty:
        region.of(mask).copy_(_opacity(region.to_square(square.to(frames.device)), square, own, feather))
    return mask


def _sampled(
    pictures: torch.Tensor, place: torch.Tensor, square: FaceSquare, mode: str, beyond: str
) -> torch.Tensor:
    """Sample pictures, averaged over areas where they are larger than their squares in frame pixels.

    Args:
        pictures: float [N, C, h, w]; each covers the whole of its square.
        place: places in the squares, 0..1 from edge to edge, [N, rows, columns, 2].
        mode, beyond: of `F.grid_sample`.

    Returns:
        float [N, C, rows, columns]. A frame's does not depend on the others.
    """
    sizes = [_size_for(side, *pictures.shape[2:]) for side in square.side.tolist()]
    sampled, start = [], 0
    for size, same in groupby(sizes):
        part = slice(start, start := start + len(list(same)))
        reduced = pictures[part] if size == pictures.shape[2:] else resize(pictures[part], *size)
        grid = place[part] * 2 - 1
        sampled.append(F.grid_sample(reduced, grid, mode=mode, padding_mode=beyond, align_corners=False))
    return sampled[0] if len(sampled) == 1 else torch.cat(sampled)


def _size_for(side: float, height: int, width: int) -> tuple[int, int]:
    """Return height and width to reduce a picture to, for a square of this many frame pixels a side.

    They go down in steps of a quarter octave, so that a face that gets smaller is seldom averaged on another grid.
    """

    def reduced(length: int) -> int:
        steps = math.floor(4 * math.log2(length / max(side, 1)))
        return length if steps < 1 else round(length / 2 ** (steps / 4))

    return reduced(height), reduced(width)


def _opacity(
    place: torch.Tensor, square: FaceSquare, own: torch.Tensor | None, feather: float
) -> torch.Tensor:
    """Return the opacity [N, h, w] at places [N, h, w, 2] of squares, 0..1 from edge to edge."""
    if own is None:
        return border_mask(place, feather)
    return _sampled(own.unsqueeze(1), place, square, "bilinear", "zeros").squeeze(1).clamp(0, 1)


def paste_back(
    frames: torch.Tensor,
    crops: torch.Tensor,
    transform: FaceSquare,
    own: torch.Tensor | None = None,
    mode: str = "bilinear",
    feather: float = FEATHER,
) -> torch.Tensor:
    """Blend rendered squares into their frames.

    Args:
        frames: uint8 [N, H, W, 3]; not modified.
        crops: float [N, 3, h, w] in 0..1, of any size: each covers the whole of its square.
        transform: one square per frame.
        own: opacity float [N, h, w] in 0..1, in crop space, in place of `border_mask`.
        mode: of interpolation, "bilinear" or "bicubic".
        feather: as in `border_mask`.

    Returns:
        uint8 [N, H, W, 3]; pixels with mask 0 are byte-identical.
    """
    _, height, width, _ = frames.shape
    region = rect_of(transform, height, width)
    result = frames.clone()
    if region.empty:
        return result
    place = region.to_square(transform.to(frames.device))
    pictures = _sampled(crops, place, transform, mode, "border")
    blend(result, pictures.mul_(255), _opacity(place, transform, own, feather), region)
    return result
