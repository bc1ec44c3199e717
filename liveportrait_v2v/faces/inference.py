"""One look of the landmark net at faces whose place is known."""

from __future__ import annotations

import torch
from torch import Tensor

from .crops import Region, cut, regions_of_landmarks, to_frame
from .nets import load_net

PRESENT = 0.5  # presence from which the landmark net is believed


def infer(net, crops: list[Tensor], regions: list[Region]) -> tuple[Tensor, Tensor]:
    """What the landmark net sees in crops [*, 256, 256, 3] that were cut from these B regions, B in all.

    Returns:
        landmarks float32 [B, 478, 3] in pixels of the frames, and presence float32 [B] in 0..1; both on the CPU.
    """
    points, logits = net(crops[0] if len(crops) == 1 else torch.cat(crops))
    # One copy, so that a GPU is waited for once.
    result = torch.cat((points.flatten(1), logits.sigmoid()[:, None]), 1).cpu()
    return to_frame(result[:, :-1].unflatten(1, (478, 3)), regions, net.size), result[:, -1]


@torch.no_grad()
def landmarks_near(frames: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks of faces that are about where these are: one face a frame.

    Args:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels.

    Returns:
        landmarks float32 [N, 478, 3] in pixels, and presence float32 [N] in 0..1; both on the CPU.
    """
    net = load_net("face_landmarks", str(frames.device))
    regions = regions_of_landmarks(landmarks)
    crops = [cut(frame, region, net.size) for frame, region in zip(frames.split(1), regions, strict=True)]
    return infer(net, crops, regions)
