"""How blurred a picture of a face is: what is painted on it is to be no sharper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from ...tensors import taken

# Brows, outer corners of the eyes and the lower lip.
_FEATURES = (33, 263, 105, 334, 17)


@dataclass(frozen=True)
class BlurParameters:
    """How a face's blur is found, by how much less steep its edges are over several pixels than over two.

    Attributes:
        reach: half of those several pixels.
        edges: share of the places in a face that are no edges.
        lines: rows and columns of pixels that are looked at, at most.
        limits: least and largest blur, in pixels.
    """

    reach: int = 3
    edges: float = 0.99
    lines: int = 64
    limits: tuple[float, float] = (0.4, 3.0)


BLUR = BlurParameters()
_TABLE_SIZE = 128


def blur_of(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of a Gaussian that would blur edges as those of the faces are, in pixels, [N].

    Args:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, >=468, >=2] in their pixels.
    """
    height, width = frames.shape[1:3]
    places = taken(landmarks, _FEATURES)[..., :2].cpu()
    low, high = places.amin(1).floor().long().tolist(), places.amax(1).ceil().long().tolist()
    shares = []
    for frame, (left, top), (right, bottom) in zip(frames, low, high, strict=True):
        part = frame[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        shares.append(_steepness(part) if min(part.shape[:2]) > 4 * BLUR.reach else 0.0)
    blurs, steepness = _table()
    return blurs[torch.searchsorted(steepness, torch.tensor(shares)).clamp_max(_TABLE_SIZE - 1)].to(
        frames.device
    )


def _steepness(picture: torch.Tensor) -> float:
    """Return the steepness of edges over several pixels of a picture uint8 [h, w, 3], over that across two."""
    found = []
    for lines in (picture, picture.transpose(0, 1)):
        light = lines[:: -(-len(lines) // BLUR.lines)].float().mean(-1)
        for reach in (BLUR.reach, 1):
            steps = (light[:, 2 * reach :] - light[:, : -2 * reach]).abs().flatten() / reach
            found.append(steps.kthvalue(max(1, round(BLUR.edges * len(steps)))).values)
    wide_x, narrow_x, wide_y, narrow_y = found
    return ((wide_x / narrow_x.clamp_min(1) + wide_y / narrow_y.clamp_min(1)) / 2).item()


@lru_cache(maxsize=1)
def _table() -> tuple[torch.Tensor, torch.Tensor]:
    """Return blurs, and what `_steepness` finds of an edge with each: both rise."""
    blurs = torch.linspace(*BLUR.limits, _TABLE_SIZE)
    risen = [torch.erf(reach / (2**0.5 * blurs)) / reach for reach in (BLUR.reach, 1)]
    return blurs, risen[0] / risen[1]


def blurred(pictures: torch.Tensor, blur: torch.Tensor) -> torch.Tensor:
    """Return pictures [N, C, h, w], blurred by Gaussians of standard deviations [N] in pixels; beyond, the border's.

    Nothing is farther than three of these, and no picture's result depends on those beside it.
    """
    reach = math.ceil(3 * blur.max().item())
    # In float64, so that a sum of more taps is the same.
    away = torch.arange(-reach, reach + 1, device=blur.device) / blur.double().unsqueeze(1)
    weights = torch.exp(-away.square() / 2) * (away.abs() <= 3)
    weights = (weights / weights.sum(1, keepdim=True)).float().T.reshape(-1, len(blur), 1, 1, 1)
    for axis in (2, 3):
        room = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
        padded, size = F.pad(pictures, room, mode="replicate"), pictures.shape[axis]
        pictures = torch.zeros_like(pictures)
        for tap, weight in enumerate(weights):
            pictures.addcmul_(padded.narrow(axis, tap, size), weight)
    return pictures
