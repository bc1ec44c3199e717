"""W, the warping module: the source's features as the driving keypoints move them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .dense_motion import DenseMotion
from .gpu.forms import laid_out_for
from .layers import Conv, ConvNorm


def _sample(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample a volume [N, C, D, H, W] at grid [N, D, H, W, 3]; on the CPU for Apple's GPUs, which can't."""
    device = "cpu" if volume.device.type == "mps" else volume.device
    return F.grid_sample(volume.to(device), grid.to(device), align_corners=False).to(volume.device)


class WarpingModule(nn.Module):
    """W of the paper.

    forward(volume float32 [N or 1, 32, 16, 64, 64], keypoints float32 [N, 21, 3] twice) -> [N, 256, 64, 64] in
    `dtype`, in which the convolutions compute. Keypoints, grids, heatmaps, masks and sampling are float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion()
        self.third = ConvNorm(512, 256, 3, 3)
        self.fourth = Conv(256, 256, 1, 1)

    def forward(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype) -> Tensor:
        deformation, visible = self.dense_motion_network(volume, kp_source, kp_driving, dtype)
        volume = volume.expand(len(deformation), -1, -1, -1, -1)
        warped = _sample(volume, deformation).flatten(1, 2)
        x = self.third(laid_out_for(warped, self.third.conv.weight, dtype), slope=0.01)
        return self.fourth(x) * visible.to(dtype)
