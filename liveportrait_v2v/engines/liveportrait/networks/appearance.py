"""F, the appearance feature extractor: what a face looks like, as a volume of features."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve
from .gpu.forms import Forms, channels_last, laid_out_for
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
        return self.conv2(self.conv1.active(y)).float().add_(x)


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
        self._add_and_norm: Callable[..., Tensor] | None = None  # Triton's, for what lies between the blocks

    def arrange(self, forms: Forms) -> None:
        if forms.fused_activation:
            from .gpu.fused_activation import add_and_norm  # needs Triton

            self._add_and_norm = add_and_norm

    def forward(self, crops: Tensor, dtype) -> Tensor:
        x = self.first(crops.to(dtype))
        for block in self.down_blocks:
            x = block(x, pool=2)
        x = self.second(x).float().view(-1, 32, 16, 64, 64)
        if self._add_and_norm is not None:
            return self._by_triton(x, dtype)
        for block in self.resblocks_3d.values():
            x = block(x, dtype)
        return x.contiguous()

    def _by_triton(self, x: Tensor, dtype) -> Tensor:
        """Do what the residual blocks do: each sum comes with the norm that the next block begins with."""
        assert self._add_and_norm is not None
        blocks = [block for block in self.resblocks_3d.values() if isinstance(block, ResBlock3d)]
        x = x.contiguous(memory_format=channels_last(x))
        y = F.relu_(blocks[0].norm1(x)).to(dtype)
        for block, following in pairwise(blocks):
            y = convolve(block.conv1.active(y), block.conv2.weight, None)
            norm = following.norm1
            assert isinstance(norm, Affine)
            y = self._add_and_norm(y, block.conv2.bias, x, norm.scale, norm.shift)
        return blocks[-1].conv2(blocks[-1].conv1.active(y)).float().add_(x).contiguous()
