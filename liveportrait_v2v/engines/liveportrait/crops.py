"""Crops of 256 x 256 pixels around faces, the input of the networks."""

from __future__ import annotations

import torch

from ... import compose
from ...faces import FaceSquare
from ...resampling import resize
from ...settings import AnimationSettings
from .landmarks203 import square_of

SIDE = 256
# Limit on the pixels held at full size at a time: eight crops of 1024 x 1024.
_PIXELS = 8 * 1024**2
# LivePortrait's values for the driving crop.
DRIVING_SIDE, DRIVING_SCALE, DRIVING_VY_RATIO = 512, 2.2, -0.1


def source_squares(landmarks: torch.Tensor, settings: AnimationSettings) -> FaceSquare:
    """Return the square of each frame's landmarks [N, 478 or 681, 3] by the settings, turned with the face."""
    return square_of(landmarks, scale=settings.scale, vx_ratio=settings.vx_ratio, vy_ratio=settings.vy_ratio)


def source_crops(frames: torch.Tensor, squares: FaceSquare, settings: AnimationSettings) -> torch.Tensor:
    """Cut each frame's square at dsize and reduce it to 256 by area: float32 [N, 3, 256, 256] in 0..1."""
    size = settings.dsize
    step = max(1, _PIXELS // size**2)
    parts = range(0, len(frames), step)
    pictures = (compose.crop(frames[k : k + step], squares[k : k + step], size) for k in parts)
    return torch.cat([resize(part, SIDE, SIDE) for part in pictures])


def driving_crops(frames: torch.Tensor, square: FaceSquare | None) -> torch.Tensor:
    """Cut the one square of a driving clip, or take whole frames without one: float32 [N, 3, 256, 256] in 0..1."""
    if square is None:
        return resize(compose.to_float(frames).div_(255), SIDE, SIDE)
    return resize(compose.crop(frames, square, DRIVING_SIDE), SIDE, SIDE)


class MeanSquare:
    """The one upright square that a driving clip is cut to: the mean of its frames' squares.

    One square for all frames keeps the head's shift, size and roll, which a square per frame would remove.
    """

    def __init__(self) -> None:
        self._sum = torch.zeros(3, dtype=torch.float64)
        self._count = 0

    def add(self, landmarks: torch.Tensor) -> None:
        """Add frames that show the face: landmarks float32 [N, 478 or 681, 3]."""
        square = square_of(landmarks, scale=DRIVING_SCALE, vy_ratio=DRIVING_VY_RATIO, rotate=False)
        self._sum += torch.cat((square.center, square.side.unsqueeze(1)), dim=1).double().sum(0)
        self._count += len(landmarks)

    def get(self) -> FaceSquare | None:
        """Return the square so far, None if no frame showed a face."""
        if not self._count:
            return None
        mean = (self._sum / self._count).float()
        return FaceSquare(mean[None, :2], torch.eye(2)[None], mean[2:])
