"""Skin on both sides of an opening: the warp jumps where lids or lips meet, and each pixel there takes a side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ...compose import PixelRect
from ...faces import FaceSquare
from .affine import Affine, from_square, to_sampling
from .curves import Opening, Patch, heights_at, sampled

NODES_AROUND = 3
"""Nodes over which the warp of one side is drawn out over an opening."""
MIN_MARGIN_PX, MARGIN_NODES = 3, 1.5
"""Margin around an opening that is drawn with it: at least in pixels, and in nodes of the warp."""
LEAST_KNOWN = 0.05
"""Share of known nodes around a pixel below which the warp is taken as it is."""
NODE_MARGIN = 0.25
"""Least distance of a node from the margin of a lid or lip that it belongs to, in nodes."""


def margin_px(square: FaceSquare, size: int) -> float:
    """Return the pixels beside an opening that a jump of the warp on a grid of `size` nodes a side reaches."""
    return max(MIN_MARGIN_PX, MARGIN_NODES * square.side.max().item() / size)


def skin_at(
    opening: Opening, patch: Patch, margins: torch.Tensor, shift: torch.Tensor, square: FaceSquare
) -> torch.Tensor:
    """Return the pixels around openings with the skin above them moved by nodes above, that below by nodes below.

    Args:
        patch: the source around them.
        margins: float32 [M, N, K, 2], margins of lids or lips in the moved face, in pixels of the frame.
        shift: float32 [N, 2, S, S] over the squares, in sides of the square.

    Returns:
        float32 [M N, 3, h, w] in 0..255, of the opening's pixels; the inside, too, is skin drawn out.
    """
    size, count = shift.shape[-1], len(margins)
    nodes = _windows(square.to_crop(margins.transpose(0, 1), size), _nodes_around(square, size), size)
    part = torch.cat([shift[:, :, rect.top : rect.bottom, rect.left : rect.right] for rect in nodes])
    from_nodes = from_square(square, size, count)
    x, y = from_nodes.then(opening.frame.inverse).over(nodes).unbind(1)
    node = (square.side / size).repeat(count).view(-1, 1, 1) * opening.frame.pixel
    above, below = heights_at(opening.curves, x) - y
    belongs = torch.cat((above > NODE_MARGIN * node, below < -NODE_MARGIN * node))
    drawn = _drawn_out(part.repeat(2, 1, 1, 1), belongs.unsqueeze(1).float())
    places = from_nodes.inverse.then(to_sampling(nodes, len(shift), shift.device)).over(opening.rects)
    between = sampled(torch.cat(drawn.chunk(2), dim=1), places).unflatten(1, (2, 3))
    moved = between[:, :, :2] / between[:, :, 2:].clamp_min(1e-3)
    known = between[:, :, 2:] > LEAST_KNOWN
    if not known.all():
        moved = torch.where(known, moved, sampled(part, places).unsqueeze(1))
    sampling = patch.sampling
    axes = (square.axes * square.side.view(-1, 1, 1)).repeat(count, 1, 1)
    shifts, pixels = Affine(sampling.center, axes @ sampling.axes), sampling.over(opening.rects)
    sides = [sampled(patch.pixels, shifts.of(side[:, 0], side[:, 1], pixels)) for side in moved.unbind(1)]
    above, below = opening.above, opening.below
    share = below + (1 - opening.upper_side) * (1 - above - below)
    return torch.lerp(sides[0], sides[1], share.unsqueeze(1))


def _nodes_around(square: FaceSquare, size: int) -> int:
    """Return the nodes around margins that are looked at."""
    return NODES_AROUND + math.ceil(1.5 * margin_px(square, size) * size / square.side.min().item())


def _windows(places: torch.Tensor, around: int, size: int) -> list[PixelRect]:
    """Return M windows of one size of a grid of `size` nodes a side, around places [N, M, K, 2] in nodes.

    They hold at least two by two nodes, also where the places are outside of the grid.
    """
    low, high = places.transpose(0, 1).flatten(1, 2).cpu().aminmax(dim=1)
    spans = [
        [
            (min(max(math.floor(first) - around, 0), size - 2), min(max(math.ceil(last) + around, 2), size))
            for first, last in zip(*ends, strict=True)
        ]
        for ends in zip(low.tolist(), high.tolist(), strict=True)
    ]
    width, height = (max(2, *(last - first for first, last in axis)) for axis in zip(*spans, strict=True))
    corners = [(min(x[0], size - width), min(y[0], size - height)) for x, y in spans]
    return [PixelRect(top, left, top + height, left + width) for left, top in corners]


def _drawn_out(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Draw known values [N, C, h, w] out over the nodes beside them, as means of those known around.

    Args:
        known: float32 [N, 1, h, w], 1 where a value is known, 0 elsewhere.

    Returns:
        float32 [N, C + 1, h, w]: values times known, and known, to be interpolated together.
    """
    both = torch.cat((values * known, known), dim=1)
    for reach in (1, NODES_AROUND):
        # Along rows, then along columns: with all around, this is a multiple of the work.
        sums = _sums_along(_sums_along(both, 3, reach), 2, reach)
        drawn = sums / sums[:, -1:].clamp_min(1) * (sums[:, -1:] > 0)
        both = torch.where(both[:, -1:] > 0, both, drawn)
    return both


def _sums_along(values: torch.Tensor, dim: int, reach: int) -> torch.Tensor:
    """Return the sums of values [N, C, h, w] up to `reach` nodes away along an axis: quicker than a pooling."""
    size, width = values.shape[dim], 2 * reach + 1
    sums = F.pad(values, (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach))
    # Sums of 1, 2, 4, … neighbours, of which those are added that make up the width.
    total, start, step = torch.zeros_like(values), 0, 1
    while width:
        if width % 2:
            total += sums.narrow(dim, start, size)
            start += step
        if width := width // 2:
            length = sums.shape[dim] - step
            sums = sums.narrow(dim, 0, length) + sums.narrow(dim, step, length)
            step *= 2
    return total
