"""Landmark inference on faces whose position is known."""

from __future__ import annotations

import torch
from torch import Tensor

from .crops import cut, landmarks_in_frame, squares_of_landmarks
from .nets import Captured, Net, load_net
from .square import FaceSquare

MIN_PRESENCE = 0.5
"""Presence from which the landmark network is believed."""


def infer(net: Net | Captured, crops: list[Tensor], squares: FaceSquare) -> tuple[Tensor, Tensor]:
    """Run the landmark network on crops of faces.

    Args:
        crops: float32 [*, 256, 256, 3], B in all.
        squares: the B squares that they were cut from.

    Returns:
        landmarks float32 [B, 478, 3] in pixels of the frames, and presence float32 [B] in 0..1; both on the CPU.
    """
    points, logits = net(crops[0] if len(crops) == 1 else torch.cat(crops))
    # One copy, so that the CPU waits for a GPU only once.
    result = torch.cat((points.flatten(1), logits.sigmoid()[:, None]), 1).cpu()
    return landmarks_in_frame(result[:, :-1].unflatten(1, (478, 3)), squares, net.size), result[:, -1]


@torch.no_grad()
def landmarks_near(frames: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Infer the landmarks of faces near given ones, one face per frame.

    Args:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels, about where the faces are.

    Returns:
        landmarks float32 [N, 478, 3] in pixels, and presence float32 [N] in 0..1; both on the CPU.
    """
    net = load_net("face_landmarks", str(frames.device))
    squares = squares_of_landmarks(landmarks.cpu())
    crops = [cut(frames[k : k + 1], squares[k : k + 1], net.size) for k in range(len(frames))]
    return infer(net, crops, squares)
