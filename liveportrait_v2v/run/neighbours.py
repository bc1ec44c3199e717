"""Heads beside the one that is drawn."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..compose import PixelRect, rect_of
from ..engines.base import RenderedFrames
from ..faces import FaceSquare, circles
from ..tracking import TrackedChunk

HEAD_RADII = 1.8
"""Reach of a head with its hair from the middle of its face, in radii as `circles` has them."""
SOFT_RADII = 0.3
"""Width in which what is drawn blends into another head's surroundings."""


def without_others(before: torch.Tensor, drawn: RenderedFrames, face: TrackedChunk) -> RenderedFrames:
    """Return what was drawn for a face, with other heads as they were.

    The face's square reaches over heads beside it, whose pixels would move along. A pixel of another head is changed
    only if it is nearer to the face that is drawn, each distance in that face's radii.

    Args:
        before: the frames that it was drawn over, uint8 [N, H, W, 3].
        drawn: the same frames with the face, and the one square of each.
        face: the face in these frames, and the others.
    """
    (square,) = drawn.squares
    near = _near(face.others, square)
    if not near.any():
        return drawn
    drawn = drawn.settled()
    own = circles(face.landmarks, face.present)
    frames, mask = drawn.frames.clone(), None if drawn.mask is None else drawn.mask.clone()
    for k in near.any(1).nonzero().flatten().tolist():
        region = rect_of(square[k : k + 1], *frames.shape[1:3])
        if region.empty:
            continue
        share = _share(own[k], face.others[k, near[k]], region).to(frames.device)
        old, new = (region.of(part[k : k + 1]).float() for part in (before, frames))
        region.of(frames[k : k + 1]).copy_(torch.lerp(old, new, share[..., None]).round())
        if mask is not None:
            region.of(mask[k : k + 1]).mul_(share)
    return replace(drawn, frames=frames, mask=mask)


def _near(others: torch.Tensor, square: FaceSquare) -> torch.Tensor:
    """Return which of the others [N, K, 3] each square reaches, bool [N, K]."""
    if not others.shape[1]:
        return torch.zeros(others.shape[:2], dtype=torch.bool)
    square = square.to("cpu")
    radius = others[..., 2]
    places = square.to_crop(others[..., :2].to(square.center.dtype))
    outside = ((places - 0.5).abs() - 0.5).clamp(min=0).norm(dim=-1) * square.side.unsqueeze(1)
    reached: torch.Tensor = outside < radius * (HEAD_RADII + SOFT_RADII / 2)
    return reached & (radius > 0) & (square.side > 0).unsqueeze(1)


def _share(own: torch.Tensor, others: torch.Tensor, region: PixelRect) -> torch.Tensor:
    """Return how far each pixel of a region may change, float32 [1, h, w] in 0..1.

    Args:
        own: circle [3] of the face that is drawn; others: circles [K, 3] of those beside it.
    """
    pixels = region.pixels(own.device)
    mine, *theirs = ((pixels - circle[:2]).norm(dim=-1) / circle[2] for circle in (own, *others))
    share = torch.ones_like(mine)
    for distance in theirs:
        lead = torch.maximum(distance - mine, distance - HEAD_RADII)
        share = torch.minimum(share, (lead / SOFT_RADII + 0.5).clamp(0, 1))
    return share.unsqueeze(0)
