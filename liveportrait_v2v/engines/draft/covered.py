"""Mouths that a hand or a thing is before, by what is seen where the lips would be."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...faces import topology
from ...tensors import taken
from . import face
from .colours import pixels_at, skin_color
from .face import Ramp


@dataclass(frozen=True)
class CoverParameters:
    """Lips that don't look like lips. Redness is (R - G) / (R + G + B), beyond the skin's; light is over the skin's.

    Attributes:
        less_red, lighter: how much less red and lighter than skin a place is that is none of the lips: those of
            drawings and of black and white pictures are like the skin.
        far: how much less red a dark one is.
        foreign, edge: share of such places, and the difference of the logarithm of light between neighbouring ones,
            from which a mouth is covered: where the lips of an overexposed face are as light, they have no edges.
        red, more: median redness of lips, and how much larger that share has to be where they are redder: their
            landmarks may be off for a moment.
        faded: falling: median redness over the usual, below which a mouth is covered.
        least: usual redness below which that tells nothing.
        usual: share of the way that the usual redness goes to a frame's: to a lesser, and to a larger one.
        seen: redness over the usual from which it does.
        onset, end: share of the way that the result goes from frame to frame, towards covered and back.
        whole: result from which a mouth is not moved at all.
        counts: share of that from which a frame counts as covered.
    """

    less_red: float = 0.004
    lighter: float = 0.03
    far: float = 0.08
    foreign: Ramp = Ramp(0.14, 0.04)
    edge: Ramp = Ramp(0.55, 0.15)
    red: Ramp = Ramp(0.045, 0.02)
    more: float = 0.12
    faded: Ramp = Ramp(0.3, 0.15)
    least: float = 0.02
    usual: tuple[float, float] = (0.1, 0.3)
    seen: float = 0.5
    onset: float = 0.6
    end: float = 0.12
    whole: float = 0.7
    counts: float = 0.5


COVER = CoverParameters()
_INNER = slice(2, 19)
"""Of 20 places along each lip: corners are dark."""
_LEAST_LIGHT = 0.05
_AROUND = tuple((x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0))
_STEP_WIDTHS = 1 / 40
"""Places that are averaged around each, and the step between them in widths of the mouth, at least a pixel."""


class Covers:
    """Whether mouths are covered in the frames of a scene, one after the other."""

    def __init__(self) -> None:
        self._usual: float | None = None  # redness
        self._last: float | None = None

    def learn(self, frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Return how far the mouths of the next frames count as covered, float32 [N] in 0..1.

        Args:
            frames: uint8 [N, H, W, 3].
            landmarks: float32 [N, >=468, >=2] in their pixels.
        """
        foreign, redness = (look.tolist() for look in lips_look(frames, landmarks))
        shares = [min(self._next(*look) / COVER.whole, 1.0) for look in zip(foreign, redness, strict=True)]
        return torch.tensor(shares, device=frames.device)

    def _next(self, foreign: float, redness: float) -> float:
        share = foreign
        if self._usual is not None and self._usual > COVER.least:
            remains = redness / self._usual
            share = max(share, COVER.faded.down(torch.tensor(remains)).item())
            if foreign == 0 and remains > COVER.seen:
                less, more = COVER.usual
                self._usual += (less if remains < 1 else more) * (redness - self._usual)
        elif foreign == 0:
            self._usual = max(redness, self._usual or 0.0)
        if self._last is not None:
            share = self._last + (COVER.onset if share > self._last else COVER.end) * (share - self._last)
        self._last = share
        return share


def lips_look(frames: torch.Tensor, landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how surely the lips of each frame are no lips, float32 [N] in 0..1, and their median redness [N].

    Args:
        frames, landmarks: as in `Covers.learn`.
    """
    skin = skin_color(frames, landmarks).unsqueeze(1)
    rows = ((topology.LIP_OUTER_UPPER, face.UPPER), (topology.LIP_OUTER_LOWER, face.LOWER))
    middles = torch.stack([(taken(landmarks, a) + taken(landmarks, b))[..., :2] / 2 for a, b in rows], dim=1)
    here, beside = middles[:, :, :-1], middles[:, :, 1:]
    places = torch.stack((here, (here + beside) / 2), dim=3).flatten(2, 3)[:, :, _INNER].unsqueeze(3)
    step = (_STEP_WIDTHS * face.mouth_width(landmarks)).clamp_min(1).view(-1, 1, 1, 1, 1)
    around = places + step * landmarks.new_tensor(_AROUND)
    colours = pixels_at(frames, torch.arange(len(frames), device=frames.device), around).mean(3)
    redness = _redness(colours) - _redness(skin.unsqueeze(1))
    light = (colours.sum(-1) / skin.sum(-1, keepdim=True).clamp_min(1)).clamp_min(_LEAST_LIGHT).log()
    unlike = ((redness < -COVER.less_red) & (light > COVER.lighter)) | (redness < -COVER.far)
    share = unlike.float().mean((1, 2))
    edge = (light[..., 2:] - light[..., :-2]).abs().amax((1, 2))
    median = redness.flatten(1).median(1).values
    return COVER.foreign(share - COVER.more * COVER.red(median)) * COVER.edge(edge), median


def _redness(colours: torch.Tensor) -> torch.Tensor:
    return (colours[..., 0] - colours[..., 1]) / colours.sum(-1).clamp_min(30)
