"""Landmarks inferred for faces on one frame, and how well they fit the squares that the network read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .boxes import Box
from .crops import cut, squares_of_landmarks
from .inference import MIN_PRESENCE, infer
from .nets import load_net
from .square import FaceSquare

MAX_DRIFT = 0.5
"""Drift above which landmarks are rejected; `_drifts` has the measurement."""


@dataclass
class Estimate:
    """Landmarks inferred for one face on one frame.

    Attributes:
        landmarks: [478, 3] in frame pixels.
        seen_in: the square that the network read.
        wanted: the square around these landmarks.
        drift: distance of the two squares, see `_drifts`.
    """

    landmarks: Tensor
    presence: float
    box: Box
    seen_in: FaceSquare
    wanted: FaceSquare
    drift: float

    @property
    def holds(self) -> bool:
        """Whether the network believes in the face, and read it in a square that fits."""
        return self.presence >= MIN_PRESENCE and self.drift <= MAX_DRIFT


class Estimator:
    """The landmark network on a device."""

    def __init__(self, device: str):
        self._net = load_net("face_landmarks", device)

    def crops(self, frames: Tensor, square: FaceSquare) -> Tensor:
        """Return what the network reads of one square in each of N frames, float32 [N, 256, 256, 3] in 0..1."""
        return cut(frames, square, self._net.size)

    def of_crops(self, crops: list[Tensor], squares: list[FaceSquare]) -> list[Estimate]:
        """Return the estimates of B squares by their crops [*, 256, 256, 3], B in all."""
        seen_in = FaceSquare.cat(squares)
        points, presence = infer(self._net, crops, seen_in)
        low, high = points[..., :2].aminmax(dim=1)
        boxes = torch.cat((low, high), 1).tolist()
        wanted = squares_of_landmarks(points)
        drifts, confidence = _drifts(seen_in, wanted), presence.tolist()
        return [
            Estimate(points[k], confidence[k], tuple(boxes[k]), square, wanted[k : k + 1], drifts[k])
            for k, square in enumerate(squares)
        ]

    def on(self, frame: Tensor, squares: list[FaceSquare]) -> list[Estimate]:
        """Return the estimates of several squares of one frame [1, H, W, 3]."""
        if not squares:
            return []
        return self.of_crops([self.crops(frame, square) for square in squares], squares)


def _drifts(seen_in: FaceSquare, wanted: FaceSquare) -> list[float]:
    """Return the drift of B faces: how far each has left the position, size and angle that fit its square.

    A drift of 1 is a shift by 20 % of the square's side, 0.4 octaves of size or a turn by 20 degrees;
    the largest of the three counts.

    The network's error, measured on real clips against its landmarks in the wanted square: 0.5 % of the face at a
    drift of 0.25, where any two squares differ by 0.3 %; 0.8 % at 0.5; unusable at 1.
    """
    way = (wanted.center - seen_in.center).norm(dim=1) / (0.20 * seen_in.side)
    growth = (wanted.side.clamp_min(1e-6) / seen_in.side).log2().abs() / 0.40
    turn = torch.remainder(wanted.angle - seen_in.angle + math.pi, math.tau) - math.pi
    return torch.stack((way, growth, turn.abs() / math.radians(20))).amax(0).tolist()
