"""Colours of faces at their landmarks."""

from __future__ import annotations

import torch

from ...tensors import taken

BT709_LUMA = (0.2126, 0.7152, 0.0722)
"""Luma of red, green and blue."""

# Landmarks on skin: away from the shadows of brows, nose and lips.
_SKIN = (50, 280, 101, 330, 205, 425, 4, 151)
# The same around each eye: away from its lashes, between lid and brow and under the lower lid.
_AROUND_EYES = ((224, 223, 222, 230, 229, 231), (444, 443, 442, 450, 449, 451))


def pixels_at(frames: torch.Tensor, which: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the pixels at places [K, ..., 2] of K of the frames, float32 [K, ..., 3]; outside, the border's.

    Args:
        frames: uint8 [N, H, W, 3].
        which: int64 [K].
    """
    height, width = frames.shape[1:3]
    x, y = places.long().unbind(-1)
    rows = which.view(-1, *(1,) * (x.dim() - 1))
    return frames[rows, y.clamp(0, height - 1), x.clamp(0, width - 1)].float()


def color_at(
    frames: torch.Tensor, which: torch.Tensor, landmarks: torch.Tensor, indices: tuple[int, ...]
) -> torch.Tensor:
    """Return the mean colour at some landmarks [K, 478, >=2] of K of the frames, float32 [K, 3] in 0..255."""
    return pixels_at(frames, which, taken(landmarks, indices)[..., :2]).mean(1)


def skin_color(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Return the face's colour, float32 [N, 3] in 0..255, by a few places on cheeks, nose and forehead."""
    return color_at(frames, torch.arange(len(frames), device=frames.device), landmarks, _SKIN)


def skin_around_eyes(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Return the colours around the left and the right eyes, float32 [2, N, 3] in 0..255."""
    every = torch.arange(len(frames), device=frames.device)
    return torch.stack([color_at(frames, every, landmarks, numbers) for numbers in _AROUND_EYES])
