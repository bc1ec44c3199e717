"""How far mouths show their teeth, by the light between their lips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from ...faces.history import MESH
from ...tensors import taken
from ...tracking import TrackedChunk
from . import face
from .colours import pixels_at, skin_color
from .face import Ramp


@dataclass(frozen=True)
class TeethParameters:
    """Teeth between the lips. Light is that of green and blue, over the skin's: lips and tongue are red.

    Attributes:
        light: of the brightest place, by which it is told to be a tooth.
        shade, fall: the same of teeth in the shade, and the share of it that is missing at a dark place below them.
        row: light of a place over that, by which it belongs to the same teeth.
        places: from the upper to the lower lip, and those of them that the brightest is looked for at.
        guess: light of the upmost places from which a mouth, not surely dark, shows as much teeth as mouths usually do.
        upmost: count of those places.
        usual: share of such a driving mouth that shows teeth.
        parted: opening from which a mouth shows an inside.
        memory: weight of a frame's share, in the average over frames, when the next one comes.
    """

    light: Ramp = Ramp(0.75, 0.15)
    shade: Ramp = Ramp(0.4, 0.1)
    fall: Ramp = Ramp(0.45, 0.15)
    row: Ramp = Ramp(0.65, 0.15)
    places: tuple[int, int] = (9, 6)
    guess: Ramp = Ramp(0.38, 0.12)
    upmost: int = 4
    usual: float = 0.33
    parted: Ramp = Ramp(0.07, 0.1)
    memory: float = 0.5


TEETH = TeethParameters()
_ACROSS = slice(3, 8)
"""Landmarks of the lips, of 11 from corner to corner, between which is looked."""


def teeth_shown(
    frames: torch.Tensor, landmarks: torch.Tensor, skin: torch.Tensor, usual: float = 0.0
) -> torch.Tensor:
    """Return the share of the way from the upper to the lower lip that shows teeth, float32 [N] in 0..1.

    Args:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, >=468, >=2] in their pixels.
        skin: float32 [N, 3], as `skin_color` has it.
        usual: share where that can't be told: what is light there may as well be lips or the tongue.
    """
    count, upper_part = TEETH.places
    upper, lower = (taken(landmarks, lip[_ACROSS])[:, None, :, :2] for lip in (face.UPPER, face.LOWER))
    down = torch.arange(count, device=landmarks.device)
    places = torch.lerp(upper, lower, ((down + 0.5) / count).view(-1, 1, 1))
    seen = pixels_at(frames, torch.arange(len(frames), device=frames.device), places).mean(2)
    light = seen[..., 1:].sum(-1) / skin[:, 1:].sum(1, keepdim=True).clamp_min(1)
    brightest, at = light[:, :upper_part].max(1, keepdim=True)
    # Above it are teeth in the lip's shade, below it they end where it gets darker.
    row = torch.where(down <= at, brightest, light).cummin(1).values / brightest.clamp_min(1e-3)
    shaded = TEETH.shade(brightest) * TEETH.fall(1 - row[:, -1:])
    sure = TEETH.light(brightest).maximum(shaded).squeeze(1)
    guess = usual * TEETH.guess(light[:, : TEETH.upmost].amax(1))
    return torch.lerp(guess, TEETH.row(row).mean(1), sure)


def averaged(
    shares: torch.Tensor, openings: torch.Tensor, before: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return averages over frames of shares [N] of teeth, as the light says each of them unsurely: float32 [N].

    Args:
        openings: float32 [N], of the mouths; those that are shut say nothing.
        before: sums of the frames before, as they are returned.

    Returns:
        the averages, and float32 [2], the sums of weighted shares and of weights, to go on with.
    """
    weights = TEETH.parted(openings)
    terms = torch.stack((weights * shares, weights), dim=1)
    first = terms.new_zeros(2) if before is None else before
    rows = list(accumulate(terms, lambda sums, row: TEETH.memory * sums + row, initial=first))
    sums = torch.stack(rows[1:])
    return torch.where(sums[:, 1] > 1e-3, sums[:, 0] / sums[:, 1].clamp_min(1e-3), shares), sums[-1]


def with_shown_teeth(chunk: TrackedChunk) -> TrackedChunk:
    """Add the landmark at which their teeth end to faces [N, 478, 3]; those of a template have it."""
    if chunk.landmarks.shape[1] > MESH:
        return chunk
    landmarks = chunk.landmarks.to(chunk.frames.device)
    share = teeth_shown(chunk.frames, landmarks, skin_color(chunk.frames, landmarks), TEETH.usual)
    return replace(chunk, landmarks=face.with_teeth(chunk.landmarks, share.to(chunk.landmarks.device)))
