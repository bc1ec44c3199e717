"""S and R: small networks that correct keypoints, for stitching and for the openings of eyes and lips."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .motion import KEYPOINTS

FLAT = 3 * KEYPOINTS


class Corrector(nn.Module):
    """Linear layers with ReLU between them: [N, first width] -> [N, last width]."""

    def __init__(self, *widths: int):
        super().__init__()
        # Named as in a sequence in which every other place is an activation.
        self.mlp = nn.ModuleDict({str(2 * i): nn.Linear(a, b) for i, (a, b) in enumerate(pairwise(widths))})

    def forward(self, *parts: Tensor) -> Tensor:
        x = torch.cat([part.flatten(1).float() for part in parts], 1)
        for i, layer in enumerate(self.mlp.values()):
            x = layer(F.relu(x) if i else x)
        return x


class Retargeting(nn.Module):
    """S (named after shoulders), R_lip (mouth) and R_eye of the paper, always in float32.

    Keypoints are [N, 21, 3]; those of the source are its own, posed and expressive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.retarget_shoulder_module = Corrector(2 * FLAT, 128, 128, 64, FLAT + 2)
        self.retarget_mouth_module = Corrector(FLAT + 2, 128, 128, 64, FLAT)
        self.retarget_eye_module = Corrector(FLAT + 3, 256, 256, 128, 128, 64, FLAT)

    def stitch(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Move the driving keypoints so that shoulders and border stay where they are in the source.

        The network gives a delta for each keypoint, and one more in x and y for all of them.
        """
        delta = self.retarget_shoulder_module(kp_source, kp_driving)
        shift = F.pad(delta[:, None, FLAT:], (0, 1))
        return kp_driving + delta[:, :FLAT].view(-1, KEYPOINTS, 3) + shift

    def lip_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """Return the step of keypoints [N, 21, 3]; ratios [N, 2]: the source lips' opening, and the one aimed at."""
        return self.retarget_mouth_module(kp_source, ratios).view(-1, KEYPOINTS, 3)

    def eye_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """Return the same for the eyes; ratios [N, 3]: the source's left and right, and the one aimed at for both."""
        return self.retarget_eye_module(kp_source, ratios).view(-1, KEYPOINTS, 3)
