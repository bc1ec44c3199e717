"""Sampling of the source where the warp has moved it, averaged where it is squeezed or torn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
import torch.nn.functional as F

from ... import compose
from ...faces import FaceSquare
from . import face
from .affine import Affine
from .curves import sampled
from .raster import Surface

_T = TypeVar("_T")
SQUEEZED, SQUEEZED_TAPS = face.Ramp(2.2, 0.8), 6
"""Pixels of the source in one of the result from which they are averaged, and places at which they are taken."""
TORN = face.Ramp(6, 2)
"""The same, from which the warp is torn between two parts of the face."""
KEPT_PIXELS = 1_000_000
"""Pixels up to which the grids over a region are kept for the next frame, with 20 bytes each."""
SAMPLES_PX = ((-0.19, -0.56), (0.56, -0.19), (0.19, 0.56), (-0.56, 0.19))
"""Samples around the middle of a pixel there: a turned square, as wide as an edge in a compressed video."""


def moved(
    frames: torch.Tensor,
    maps: torch.Tensor,
    warp: Surface,
    square: FaceSquare,
    region: compose.PixelRect,
    parts: list[slice],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the region's pixels moved, float32 [N, 3, h, w] in 0..255, and their opacity [N, h, w].

    Args:
        maps: float32 [N, 2 or 3, S, S] over the squares: shift, as the region's sampling grid has it, and pixels of
            the source in one of the result, which is averaged where there are more.
        warp: the shift that they have at its nodes.
        parts: frames to be moved at once.
    """
    still = _kept(_still, region.area)(region, frames.device)
    # Written in place: to join tensors this large afterwards takes longer.
    pictures = torch.empty(len(frames), 3, *still.shape[1:], device=frames.device)
    grid, opacity = torch.empty_like(pictures[:, :2]), torch.empty_like(pictures[:, 0])
    squeeze = torch.empty_like(opacity) if maps.shape[1] == 3 else None
    for part in parts:
        rows = _rows(square[part])
        place, opacity[part] = _kept(_square_at, len(rows) * region.area)(
            rows, region, maps.shape[-1], frames.device
        )
        upright = F.grid_sample(
            maps[part], place.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False
        )
        torch.add(upright[:, :2], still, out=grid[part])
        pixels = region.of(frames[part]).float().permute(0, 3, 1, 2)
        pictures[part] = sampled(pixels, grid[part])
        if squeeze is not None:
            squeeze[part] = upright[:, 2]
    if squeeze is not None:
        which: tuple[torch.Tensor, ...] = _above(SQUEEZED.start, squeeze)
        if len(which[0]):
            source, torn = region.of(frames), TORN(squeeze[which])
            averaged, drawn = torn < 1, torn > 0
            places = grid.permute(0, 2, 3, 1)
            _average_squeezed(pictures, source, places, tuple(index[averaged] for index in which))
            which = tuple(index[drawn] for index in which)
            _draw_torn(pictures, source, warp, square, region, which, torn[drawn])
    return pictures, opacity


def _kept(function: Callable[..., _T], pixels: int) -> Callable[..., _T]:
    """Return a function that keeps its results, or the one within where these are large."""
    return function if pixels <= KEPT_PIXELS else inspect.unwrap(function)


@lru_cache(maxsize=2)
def _still(region: compose.PixelRect, device: torch.device) -> torch.Tensor:
    """Return the sampling grid that moves nothing, float32 [2, h, w]. Shared: do not write into it."""
    return region.identity(device).permute(2, 0, 1).contiguous()


def _above(threshold: float, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return frame, row and column of the values [N, h, w] above a threshold, of rows that hold any."""
    frame, y = (values.amax(2) > threshold).nonzero(as_tuple=True)
    which, x = (values[frame, y] > threshold).nonzero(as_tuple=True)
    return frame[which], y[which], x


def squeezed(shift: torch.Tensor) -> torch.Tensor:
    """Return the pixels of the source in a step of one, along the axis with more, at nodes and those beside them.

    Args:
        shift: float32 [N, 2, S, S], in sides of the square.

    Returns:
        float32 [N, 1, S, S].
    """
    size = shift.shape[-1]
    steps = []
    for axis in (0, 1):
        way = size * shift.diff(dim=3 - axis)
        way[:, axis] += 1
        steps.append(F.pad(way.square().sum(1), (0, 1 - axis, 0, axis)))
    most = torch.maximum(*steps).sqrt_()
    # A difference belongs to the nodes at both of its ends.
    both = most.clone()
    torch.maximum(both[:, :, 1:], most[:, :, :-1], out=both[:, :, 1:])
    torch.maximum(both[:, 1:], most[:, :-1], out=both[:, 1:])
    return both.unsqueeze(1)


def _average_squeezed(
    pictures: torch.Tensor, frames: torch.Tensor, grid: torch.Tensor, which: tuple[torch.Tensor, ...]
) -> None:
    """Average what falls into a pixel where the warp squeezes the source: sampled once, it would be dotted.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, h, w, 3], the source's region.
        grid: float32 [N, h, w, 2], its sampling grid.
        which: frame, row and column of P pixels of the region.
    """
    frame, y, x = which
    height, width = grid.shape[1:3]
    half = grid.new_tensor([width / 2, height / 2])
    center = (grid[frame, y, x] + 1) * half
    beside = [
        (grid[frame, (y + down).clamp(0, height - 1), (x + right).clamp(0, width - 1)] + 1) * half
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    ways = torch.stack(beside, dim=1) - center.unsqueeze(1)
    most, longest = ways.norm(dim=-1).max(1, keepdim=True)
    way = ways.gather(1, longest.unsqueeze(-1).expand(-1, -1, 2))
    taps = (torch.arange(SQUEEZED_TAPS, device=grid.device) + 0.5) / SQUEEZED_TAPS - 0.5
    mean = _mean_at(frames, center.unsqueeze(1) + taps.view(1, -1, 1) * way, frame)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, SQUEEZED(most))


def _draw_torn(
    pictures: torch.Tensor,
    frames: torch.Tensor,
    warp: Surface,
    square: FaceSquare,
    region: compose.PixelRect,
    which: tuple[torch.Tensor, ...],
    share: torch.Tensor,
) -> None:
    """Draw pixels where one part of the face covers another from the triangles themselves, a sample at a time.

    Between nodes there is nothing to interpolate, and nodes alone would make steps of an edge.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, h, w, 3], the source's region.
        which: frame, row and column of P pixels of the region.
        share: float32 [P], opacity.
    """
    frame, y, x = which
    corner = torch.tensor([region.left, region.top], device=share.device)
    samples = torch.tensor(SAMPLES_PX, device=share.device) + 0.5
    places = (torch.stack((x, y), dim=-1) + corner).unsqueeze(1) + samples
    squares = square[frame]
    shift = warp.at(frame, squares.to_crop(places, warp.front.shape[-1]))
    shift = shift @ (squares.axes * squares.side.view(-1, 1, 1))
    mean = _mean_at(frames, places + shift - corner, frame)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, share.unsqueeze(1))


def _mean_at(frames: torch.Tensor, places: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
    """Return the mean colours at places [P, T, 2] of frames [P], in pixels of frames [N, h, w, 3]: float32 [P, 3]."""
    height, width = frames.shape[1:3]
    columns, rows = places[..., 0].long().clamp(0, width - 1), places[..., 1].long().clamp(0, height - 1)
    return frames[frame.unsqueeze(1), rows, columns].float().mean(1)


def _rows(square: FaceSquare) -> tuple[tuple[float, ...], ...]:
    """Return centre, axes and side of each square as numbers."""
    rows = torch.cat((square.center, square.axes.flatten(1), square.side.unsqueeze(1)), dim=1)
    return tuple(map(tuple, rows.tolist()))


@lru_cache(maxsize=2)
def _square_at(
    rows: tuple[tuple[float, ...], ...], region: compose.PixelRect, size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where a region's pixels are in squares, and the opacity of what is pasted back there.

    A still's square and that of its sketch are the same in each frame. Shared: do not write into the tensors.

    Args:
        rows: the squares, as `_rows` has them.
        size: nodes a side of the squares' maps.

    Returns:
        grid_sample's places in maps over the squares, float32 [N, 2, h, w], and opacity float32 [N, h, w].
    """
    center, axes, side = torch.tensor(rows, device=device).split((2, 4, 1), dim=1)
    # From one end of the map, -1, to the other, 1.
    place = Affine(center, (side / 2 * axes).view(-1, 2, 2)).inverse.over([region])
    mask = _mask(size, device).expand(len(rows), 1, size, size)
    opacity = F.grid_sample(mask, place.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False)
    return place, opacity.squeeze(1)


@lru_cache(maxsize=4)
def _mask(size: int, device: torch.device) -> torch.Tensor:
    """Return the opacity of a pasted square at `size` nodes a side, float32 [size, size]. Shared."""
    # Drawn in a little, so that interpolation adds nothing outside.
    axis = ((torch.arange(size, device=device) + 0.5) / size - 0.5) * (1 + 3 / size) + 0.5
    return compose.border_mask(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1))


def to_region(shift: torch.Tensor, square: FaceSquare, region: compose.PixelRect) -> torch.Tensor:
    """Shifts [N, 2, S, S] in sides of the square as shifts of a region's sampling grid."""
    axes = (square.axes * square.side.view(-1, 1, 1)).view(-1, 2, 2, 1, 1)
    x, y = shift[:, :1], shift[:, 1:]
    return (x * axes[:, 0] + y * axes[:, 1]) * region.sampling(shift.device)[1].view(1, 2, 1, 1)
