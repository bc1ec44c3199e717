"""F, the appearance feature extractor: what a face looks like, as a volume of features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .gpu.forms import laid_out_for
from .layers import Affine, Conv, ConvNorm, fold_norm


class ResBlock3d(nn.Module):
    """Pre-activation residual block: norm, ReLU and 3x3x3 convolution, twice, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1: nn.BatchNorm3d | Affine = nn.BatchNorm3d(channels)
        self.conv1 = Conv(channels, channels, 3, 3, 3)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = Conv(channels, channels, 3, 3, 3)

    def fold(self) -> None:
        fold_norm(self.conv1, self.norm2)
        assert isinstance(self.norm1, nn.BatchNorm3d)
        self.norm1 = Affine(self.norm1)
        del self.norm2

    def forward(self, x: Tensor, dtype) -> Tensor:
        x = laid_out_for(x, self.conv1.weight)
        y = F.relu_(self.norm1(x)).to(dtype)
        return self.conv2(F.relu_(self.conv1(y))).float().add_(x)


class AppearanceFeatureExtractor(nn.Module):
    """F of the paper.

    forward(crops [N, 3, 256, 256], RGB 0..1) -> feature volume float32 [N, 32, 16, 64, 64]: 32 channels of 16 planes
    in depth, a quarter of the crop's size. The convolutions compute in `dtype`; what the residual blocks add up stays
    float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ConvNorm(3, 64, 3, 3)
        self.down_blocks = nn.ModuleList([ConvNorm(64, 128, 3, 3), ConvNorm(128, 256, 3, 3)])
        self.second = Conv(256, 512, 1, 1)
        self.resblocks_3d = nn.ModuleDict({f"3dr{i}": ResBlock3d(32) for i in range(6)})

    def forward(self, crops: Tensor, dtype) -> Tensor:
        x = F.relu_(self.first(crops.to(dtype)))
        for block in self.down_blocks:
            x = F.avg_pool2d(F.relu_(block(x)), 2)
        x = self.second(x).float().view(-1, 32, 16, 64, 64)
        for block in self.resblocks_3d.values():
            x = block(x, dtype)
        return x.contiguous()
