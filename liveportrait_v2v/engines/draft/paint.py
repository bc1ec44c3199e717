"""What a warp can't show because the source frame hasn't got it: the inside of a mouth, an eye that was shut."""

from __future__ import annotations

import torch

from .face import smoothstep

# Skin away from shadows of brows, nose and lips.
_SKIN = (50, 280, 101, 330, 205, 425, 4, 151)


def skin_light(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Brightness of the face in its frame, float32 [N] in 0..1, by a few places on cheeks, nose and forehead."""
    n, height, width, _ = frames.shape
    points = landmarks[:, _SKIN, :2].long()
    x, y = points[..., 0].clamp(0, width - 1), points[..., 1].clamp(0, height - 1)
    return frames[torch.arange(n, device=frames.device).unsqueeze(1), y, x].float().mean((1, 2)) / 255


def mouth_interior(mouth: torch.Tensor, opening: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Paints the inside of an open mouth: dark, with the upper teeth behind the lip and a hint of the tongue.

    Args:
        mouth: float32 [N, 3, h, w]: inside, place along the mouth -1..1, place from the upper lip 0 to the lower 1.
        opening: float32 [N], height / width of the mouth.
        light: float32 [N], brightness of the face.

    Returns:
        float32 [N, 3, h, w] in 0..1.
    """
    along = mouth[:, 1]
    below = mouth[:, 2] * opening.view(-1, 1, 1)  # distance from the upper lip, in widths of the mouth
    above = (1 - mouth[:, 2]) * opening.view(-1, 1, 1)
    light = light.clamp_min(0.15).view(-1, 1, 1, 1)

    def color(*rgb: float) -> torch.Tensor:
        return torch.tensor(rgb, device=mouth.device).view(1, 3, 1, 1) * light

    sides = 1 - smoothstep((along.abs() - 0.35) / 0.5)
    teeth = smoothstep((0.15 - below) / 0.05) * sides
    tongue = smoothstep((0.16 - above) / 0.16) * sides * smoothstep((opening.view(-1, 1, 1) - 0.15) / 0.2)
    shade = (0.55 + 0.45 * smoothstep(below / 0.08)).unsqueeze(1)
    picture = torch.lerp(color(0.20, 0.07, 0.07), color(0.62, 0.30, 0.28), 0.7 * tongue.unsqueeze(1))
    return torch.lerp(picture, color(1.12, 1.04, 0.95) * shade, 0.85 * teeth.unsqueeze(1))
