"""Sampling of the source where the warp has moved it, averaged where it is squeezed or torn."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
import torch.nn.functional as F

from ... import compose
from ...faces import FaceSquare
from . import face
from .affine import Affine
from .blur import blurred
from .curves import sampled
from .raster import Surface

_T = TypeVar("_T")
EDGE_GAIN = 2.0
"""How much more opaque the blurred edge of torn pixels is than these alone would be, blurred."""
SQUEEZED, SQUEEZED_TAPS = face.Ramp(1.3, 0.3), 8
"""Pixels of the source in one of the result from which they are averaged, and places at which they are taken."""
DRAWN_OUT, DRAWN_OUT_BLURS, DRAWN_OUT_NODES = face.Ramp(2.0, 2.0), 4, 1
"""Pixels of the result in one of the source from which they are blurred, by how many blurs of the source, and so
many of every other node around these that are as well."""
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
    blur: torch.Tensor,
    streaks: torch.Tensor | None = None,
    pins: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the region's pixels moved, float32 [N, 3, h, w] in 0..255, and their opacity [N, h, w].

    Args:
        maps: float32 [N, 2 or 3, S, S] over the squares: shift, as the region's sampling grid has it, and pixels of
            the source in one of the result, which is averaged where there are more.
        warp: the shift that they have at its nodes.
        parts: frames to be moved at once.
        blur: float32 [N], of the source, as `blur_of` has it.
        streaks: float32 [N, 1, S / 2, S / 2], as `drawn_out` has it.
        pins: float32 [N, 2, h, w], share of the shift that the region's pixels keep along each axis; nothing is drawn
            where it is 0.
    """
    still = _kept(_still, region.area)(region, frames.device)
    # Written in place: to join tensors this large afterwards takes longer.
    pictures = torch.empty(len(frames), 3, *still.shape[1:], device=frames.device)
    opacity = torch.empty_like(pictures[:, 0])
    for part in parts:
        rows = _rows(square[part])
        place, opacity[part] = _kept(_square_at, len(rows) * region.area)(
            rows, region, maps.shape[-1], frames.device
        )
        upright = F.grid_sample(
            maps[part], place.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False
        )
        shift = upright[:, :2]
        if pins is not None:
            shift = shift * pins[part]
            opacity[part] *= (pins[part] > 0).all(1)
        grid = shift + still
        source = region.of(frames[part]).float()
        pictures[part] = sampled(source.permute(0, 3, 1, 2), grid)
        if maps.shape[1] == 3:
            which = (upright[:, 2] > SQUEEZED.start).nonzero(as_tuple=True)
            torn = TORN(upright[:, 2][which])
            averaged, drawn = (tuple(index[chosen] for index in which) for chosen in (torn < 1, torn > 0))
            if len(averaged[0]):
                _average_squeezed(pictures[part], source, grid, averaged)
            if len(drawn[0]):
                torn = torn[torn > 0]
                _draw_torn(pictures[part], source, warp[part], square[part], region, drawn, torn)
                _soften(pictures[part], drawn, torn, blur[part])
        if streaks is not None:
            _even_out(pictures[part], streaks[part], place, region, blur[part])
    return pictures, opacity


def _kept(function: Callable[..., _T], pixels: int) -> Callable[..., _T]:
    """Return a function that keeps its results, or the one within where these are large."""
    return function if pixels <= KEPT_PIXELS else inspect.unwrap(function)


@lru_cache(maxsize=2)
def _still(region: compose.PixelRect, device: torch.device) -> torch.Tensor:
    """Return the sampling grid that moves nothing, float32 [2, h, w]. Shared: do not write into it."""
    return region.identity(device).permute(2, 0, 1).contiguous()


def steps_of(shift: torch.Tensor) -> list[torch.Tensor]:
    """Return the squares of the source's pixels in a step of one along each axis, [N, S, S].

    Args:
        shift: float32 [N, 2, S, S], in sides of the square.
    """
    size = shift.shape[-1]
    steps = []
    for axis in (0, 1):
        way = size * shift.diff(dim=3 - axis)
        way[:, axis] += 1
        steps.append(F.pad(way.square().sum(1), (0, 1 - axis, 0, axis), mode="replicate"))
    return steps


def squeezed(steps: list[torch.Tensor]) -> torch.Tensor:
    """Return the pixels of the source in a step of one, along the axis with more, at nodes and those beside them.

    Args:
        steps: as `steps_of` has them.

    Returns:
        float32 [N, 1, S, S].
    """
    most = torch.maximum(*steps).sqrt_()
    # A difference belongs to the nodes at both of its ends.
    both = most.clone()
    torch.maximum(both[:, :, 1:], most[:, :, :-1], out=both[:, :, 1:])
    torch.maximum(both[:, 1:], most[:, :-1], out=both[:, 1:])
    return both.unsqueeze(1)


def drawn_out(steps: list[torch.Tensor]) -> torch.Tensor:
    """Return how far every other node is in a part that the warp draws out along one axis.

    Args:
        steps: as `steps_of` has them.

    Returns:
        float32 [N, 1, S / 2, S / 2] in 0..1.
    """
    stretch = torch.minimum(*steps)[:, ::2, ::2].rsqrt().unsqueeze(1)
    # What is narrow is a jump between lids or lips.
    share = DRAWN_OUT(-F.max_pool2d(-stretch, 3, 1, 1))
    if not share.any():
        return share
    around = 2 * DRAWN_OUT_NODES + 1
    share = F.max_pool2d(share, around + 2, 1, DRAWN_OUT_NODES + 1)
    return F.avg_pool2d(share, around, 1, DRAWN_OUT_NODES, count_include_pad=False)


def _average_squeezed(
    pictures: torch.Tensor, frames: torch.Tensor, grid: torch.Tensor, which: tuple[torch.Tensor, ...]
) -> None:
    """Average what falls into a pixel where the warp squeezes the source: sampled once, it would be dotted.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: float32 [N, h, w, 3], the source's region.
        grid: float32 [N, 2, h, w], its sampling grid.
        which: frame, row and column of P pixels of the region.
    """
    frame, y, x = which
    height, width = grid.shape[2:]
    # Columns and rows are told apart all the way: pairs of them take twice as long.
    columns, rows = (places.flatten() for places in grid.unbind(1))
    half_width, half_height = width / 2, height / 2

    def place(pixel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return columns[pixel].add_(1).mul_(half_width), rows[pixel].add_(1).mul_(half_height)

    pixel = (frame * height + y).mul_(width).add_(x)
    column, row = place(pixel)
    right, below = place(pixel + (x < width - 1)), place(pixel + (y < height - 1) * width)
    across, down = ((beside[0] - column, beside[1] - row) for beside in (right, below))
    wide, high = torch.hypot(*across), torch.hypot(*down)
    way_x, way_y = (torch.where(wide > high, *way).unsqueeze(1) for way in zip(across, down, strict=True))
    taps = _tent(grid.device)
    mean = _mean_at(
        frames,
        torch.addcmul(column.unsqueeze(1), way_x, taps),
        torch.addcmul(row.unsqueeze(1), way_y, taps),
        frame,
    )
    share = SQUEEZED(torch.maximum(wide, high)).unsqueeze(1)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, share)


@lru_cache(maxsize=2)
def _tent(device: torch.device) -> torch.Tensor:
    """Return places of equal weight, float32 [SQUEEZED_TAPS], that make up a tent from a pixel to those beside it.

    A thin line gets its light into two pixels: with a box one pixel wide it would be in one or the other.
    """
    share = (torch.arange(SQUEEZED_TAPS // 2, device=device) + 0.5) / SQUEEZED_TAPS
    away = 1 - (2 * share).sqrt()
    return torch.cat((-away, away.flip(0)))


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
        frames: float32 [N, h, w, 3], the source's region.
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
    columns, rows = (places + shift - corner).unbind(-1)
    mean = _mean_at(frames, columns, rows, frame)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, share.unsqueeze(1))


def _soften(
    pictures: torch.Tensor, which: tuple[torch.Tensor, ...], share: torch.Tensor, blur: torch.Tensor
) -> None:
    """Blur the edges of parts that cover others as the source's own edges are.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        which: frame, row and column of P pixels there.
        share: float32 [P], as in `_draw_torn`.
        blur: float32 [N].
    """
    # Frame by frame: what is beside one makes no difference.
    for k in which[0].unique().tolist():
        here = which[0] == k
        y, x = which[1][here], which[2][here]
        # What is blurred, and what it takes its colours from.
        reach = math.ceil(6 * blur[k].item())
        top, left = (max(int(places.min()) - reach, 0) for places in (y, x))
        rows, columns = (
            slice(first, int(places.max()) + reach + 1) for first, places in ((top, y), (left, x))
        )
        part = pictures[k, None, :, rows, columns]
        edges = torch.zeros_like(part[:, :1])
        edges[0, 0, y - top, x - left] = share[here]
        soft, edges = blurred(torch.cat((part, edges), dim=1), blur[k, None]).split((3, 1), dim=1)
        part.copy_(torch.lerp(part, soft, (EDGE_GAIN * edges).clamp_max(1)))


def _even_out(
    pictures: torch.Tensor,
    streaks: torch.Tensor,
    place: torch.Tensor,
    region: compose.PixelRect,
    blur: torch.Tensor,
) -> None:
    """Blur what is drawn out along one axis, which would be streaks, along both.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        streaks: float32 [N, 1, S / 2, S / 2], as in `moved`.
        place: float32 [N, 2, h, w], grid_sample's places of the region's pixels there.
        blur: float32 [N].
    """
    for k in streaks.flatten(1).any(1).nonzero().flatten().tolist():
        share = F.grid_sample(streaks[k, None], place[k, None].permute(0, 2, 3, 1), align_corners=False)
        rows, columns = (share[0, 0].any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        if not rows:
            continue
        # Counted from the frame's corner, so that the same pixels are averaged in each frame and chunk.
        top, left = (
            first[0] - (first[0] + corner) % DRAWN_OUT_BLURS
            for first, corner in ((rows, region.top), (columns, region.left))
        )
        top, left = (start if start >= 0 else start + DRAWN_OUT_BLURS for start in (top, left))
        height, width = slice(top, rows[-1] + 1), slice(left, columns[-1] + 1)
        part = pictures[k, None, :, height, width]
        small = blurred(F.avg_pool2d(part, DRAWN_OUT_BLURS, ceil_mode=True), blur[k, None])
        even = F.interpolate(small, scale_factor=DRAWN_OUT_BLURS, mode="bilinear", align_corners=False)
        even = even[..., : part.shape[2], : part.shape[3]]
        part.copy_(torch.lerp(part, even, share[:, :, height, width]))


def _mean_at(
    frames: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, frame: torch.Tensor
) -> torch.Tensor:
    """Return the mean colours at places [P, T] of frames [P], in pixels of frames [N, h, w, 3]: float32 [P, 3]."""
    height, width = frames.shape[1:3]
    row = rows.int().clamp_(0, height - 1) + (frame.int() * height).unsqueeze(1)
    pixel = row.mul_(width).add_(columns.int().clamp_(0, width - 1))
    return F.embedding_bag(pixel, frames.flatten(0, 2), mode="mean")


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
