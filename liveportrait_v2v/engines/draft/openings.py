"""Skin on both sides of an opening: the warp jumps where lids or lips meet, and each pixel there takes a side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ...compose import PixelRect
from ...faces import FaceSquare
from .curves import Opening, Patch, height_at, local, pixel_of

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
    opening: Opening,
    patch: Patch,
    margins: torch.Tensor,
    shift: torch.Tensor,
    square: FaceSquare,
    region: PixelRect,
) -> torch.Tensor:
    """Return the pixels around an opening with the skin above it moved by nodes above, that below by nodes below.

    Args:
        patch: the source around the opening.
        margins: float32 [N, K, 2], margins of lids or lips in the moved face, in pixels of the frame.
        shift: float32 [N, 2, S, S] over the squares, in sides of the square.

    Returns:
        float32 [N, 3, h, w] in 0..255, of the opening's rows and columns; the inside, too, is skin drawn out.
    """
    size = shift.shape[-1]
    margins = square.to_crop(margins, size)
    around = NODES_AROUND + math.ceil(1.5 * margin_px(square, size) * size / square.side.min().item())
    low = (margins.amin((0, 1)).floor().int() - around).clamp(0, size - 2).tolist()
    high = (margins.amax((0, 1)).ceil().int() + around).clamp(2, size).tolist()
    x, y = (torch.arange(a, max(b, a + 2), device=shift.device) + 0.5 for a, b in zip(low, high, strict=True))
    nodes = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    places = local(square.to_frame(nodes.view(1, -1, 2).expand(len(shift), -1, -1), size), opening.frame)
    places = places.unflatten(1, nodes.shape[:2])
    part = shift[:, :, low[1] : low[1] + len(y), low[0] : low[0] + len(x)]
    node = (square.side / size).view(-1, 1, 1) * pixel_of(opening.frame)
    place = region.part(opening.rows, opening.columns).to_square(square) * size - nodes[0, 0] + 0.5
    place = place / place.new_tensor([len(x), len(y)]) * 2 - 1

    pixels = region.pixels(opening.rows, opening.columns, shift.device)
    axes = square.axes * square.side.view(-1, 1, 1)
    margins = torch.cat([height_at(curve, places[..., 0]) for curve in opening.curves])
    ways = (margins - places[..., 1].repeat(2, 1, 1)).unflatten(0, (2, -1))
    belongs = torch.stack((ways[0] > NODE_MARGIN * node, ways[1] < -NODE_MARGIN * node)).flatten(0, 1)
    both = _drawn_out(part.repeat(2, 1, 1, 1), belongs.unsqueeze(1).float())
    between = F.grid_sample(both, place.repeat(2, 1, 1, 1), padding_mode="border", align_corners=False)
    moved = between[:, :2] / between[:, 2:].clamp_min(1e-3)
    known = between[:, 2:] > LEAST_KNOWN
    if not known.all():
        plain = F.grid_sample(part, place, padding_mode="border", align_corners=False)
        moved = torch.where(known, moved, plain.repeat(2, 1, 1, 1))
    moved = torch.einsum("snchw,ncd->snhwd", moved.unflatten(0, (2, -1)), axes)
    sides = [patch.at(pixels + side) for side in moved]
    above, below = opening.above, opening.below
    share = (below + (opening.y - (opening.upper + opening.lower) / 2 > 0) * (1 - above - below)).unsqueeze(1)
    return torch.lerp(sides[0], sides[1], share)


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
    size = values.shape[dim]
    room = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
    padded = F.pad(values, room)
    total = padded.narrow(dim, 0, size) + padded.narrow(dim, 1, size)
    for start in range(2, 2 * reach + 1):
        total += padded.narrow(dim, start, size)
    return total
