"""Bars of one colour at the borders of frames, as beside an upright clip in a wide one: they stay where they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...compose import PixelRect
from ...faces import FaceSquare, topology
from ...tensors import taken
from . import face
from .motion import Target


@dataclass(frozen=True)
class BarParameters:
    """How bars are found, and what they hold.

    Attributes:
        even: largest difference from a bar's colour inside it, in levels of 255: what compression leaves.
        blur: pixels behind a bar in which compression mixes it with the picture.
        edge: share of the line behind these that differs from the bar. A plain background has no such edge.
        reach: distance from a bar over which motion towards it fades, in sides of the face's square, and the least one
            in pixels; not into the face.
    """

    even: int = 12
    blur: int = 2
    edge: float = 0.5
    reach: tuple[float, float] = (0.15, 4.0)


BARS = BarParameters()
_STEP = 8
"""Pixels along a line from one that is looked at to the next: speed."""


def pins(frames: torch.Tensor, target: Target, square: FaceSquare, region: PixelRect) -> torch.Tensor | None:
    """Return the share of motion across and down that a region's pixels keep, 0 in bars: float32 [N, 2, h, w].

    Args:
        frames: uint8 [N, H, W, 3].
        square: of the N faces.

    Returns:
        None where no frame has a bar.
    """
    lines = frames.transpose(1, 2), frames
    bars = [(bar_width(part), bar_width(part, last=True)) for part in lines]
    if not any(bar.any() for both in bars for bar in both):
        return None
    outlines = torch.cat(
        [taken(points, topology.OVAL)[..., :2] for points in (target.source, target.moved)], 1
    )
    low, high = outlines.amin(1), outlines.amax(1)
    share, least = BARS.reach
    shares = []
    for axis, ((first, last), size) in enumerate(zip(bars, (frames.shape[2], frames.shape[1]), strict=True)):
        start, end = ((region.left, region.right), (region.top, region.bottom))[axis]
        places = torch.arange(start, end, device=frames.device) + 0.5
        kept = torch.ones(len(frames), len(places), device=frames.device)
        for bar, away, room in (
            (first, places - first.unsqueeze(1), low[:, axis] - first),
            (last, size - last.unsqueeze(1) - places, size - last - high[:, axis]),
        ):
            reach = room.minimum(share * square.side).clamp_min(least).unsqueeze(1)
            kept *= torch.where(bar.unsqueeze(1) > 0, face.smoothstep(away / reach), 1.0)
        shares.append(kept)
    shape = (len(frames), region.bottom - region.top, region.right - region.left)
    return torch.stack((shares[0].unsqueeze(1).expand(shape), shares[1].unsqueeze(2).expand(shape)), dim=1)


def bar_width(lines: torch.Tensor, last: bool = False) -> torch.Tensor:
    """Return how many of the first or the last lines of frames, uint8 [N, L, K, 3], are a bar: int64 [N]."""
    widths = torch.zeros(len(lines), dtype=torch.int64, device=lines.device)
    lines = lines[:, :, ::_STEP]
    outmost = lines[:, -1 if last else 0].int()
    which = ((outmost.amax(1) - outmost.amin(1)).amax(1) <= 2 * BARS.even).nonzero().flatten()
    if not len(which):
        return widths
    half = lines.shape[1] // 2
    near = (lines[which, -half:].flip(1) if last else lines[which, :half]).float()
    away = (near - near[:, :1].mean(2, keepdim=True)).abs().amax(-1)
    width = (away.amax(2) <= BARS.even).long().cumprod(1).sum(1)
    behind = (width + BARS.blur).clamp_max(near.shape[1] - 1)
    line = away[torch.arange(len(which), device=lines.device), behind]
    edge = (line > 2 * BARS.even).float().mean(1) >= BARS.edge
    widths[which] = torch.where(edge, width, 0)
    return widths
