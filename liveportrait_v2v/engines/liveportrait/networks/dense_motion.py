"""From two sets of keypoints to a dense motion: where each point of the volume looks, and what it can't see.

Grids run from -1 to 1 over the centres of the first and last sample but are read as if over the outer edges, as the
published weights were trained: sample i of n reads at i * n / (n - 1) - 1/2, a slight zoom.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .enlarged import convolve_enlarged, enlarged_kernels
from .layers import Conv, ConvNorm, fold_norm
from .motion import KEYPOINTS

MOTIONS = KEYPOINTS + 1  # the first is the background's, which stands still
HEAT_VARIANCE = 0.01


def axis(size: int, like: Tensor) -> Tensor:
    """Coordinates -1..1 of `size` samples along an axis."""
    return torch.linspace(-1, 1, size, dtype=torch.float32, device=like.device)


def sampling_matrices(shift: Tensor, size: int) -> Tensor:
    """Linear interpolation along one axis at its coordinates plus a shift, zero outside, as matrices.

    Args:
        shift: float32 [...].

    Returns:
        float32 [..., size, size]: rows are places read, columns samples.
    """
    place = ((axis(size, shift) + shift[..., None] + 1) * size - 1) / 2
    samples = torch.arange(size, dtype=torch.float32, device=shift.device)
    return (1 - (place[..., None] - samples).abs()).clamp_(min=0)


def shifted_volumes(volume: Tensor, shift: Tensor) -> Tensor:
    """Sample a volume under K constant shifts, by three products with small matrices instead of 5-D sampling.

    Args:
        volume: float32 [N or 1, C, D, H, W].
        shift: float32 [N, K, 3], in x, y, z.

    Returns:
        float32 [N, K, C, D, H, W].
    """
    channels, depth, height, width = volume.shape[1:]
    count, shifts = shift.shape[:2]
    along_x = sampling_matrices(shift[..., 0], width).transpose(2, 3)
    along_y = sampling_matrices(shift[..., 1], height)
    along_z = sampling_matrices(shift[..., 2], depth)
    x = volume.reshape(-1, 1, channels * depth * height, width) @ along_x
    x = along_y[:, :, None] @ x.view(count, shifts, channels * depth, height, width)
    x = along_z[:, :, None] @ x.view(count, shifts, channels, depth, height * width)
    return x.view(count, shifts, channels, depth, height, width)


def heatmaps(keypoints: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Gaussian bumps at keypoints float32 [N, K, 3] (x, y, z) -> float32 [N, K, *size], as a product of three."""
    depth, height, width = (
        torch.exp(-0.5 / HEAT_VARIANCE * (axis(length, keypoints) - keypoints[..., i, None]) ** 2)
        for i, length in zip((2, 1, 0), size, strict=True)
    )
    plane = height[..., :, None] * width[..., None, :]
    return depth[..., :, None, None] * plane[..., None, :, :]


class UpBlock(ConvNorm):
    """Nearest upsampling of height and width, 3x3x3 convolution with its norm, ReLU: computed without upsampling."""

    def __init__(self, cin: int, cout: int):
        super().__init__(cin, cout, 3, 3, 3)

    def fold(self) -> None:
        super().fold()
        assert self.conv.bias is not None
        self.bias = self.conv.bias
        self.kernels = nn.ParameterDict(enlarged_kernels(self.conv.weight))
        del self.conv

    def forward(self, x: Tensor) -> Tensor:
        return convolve_enlarged(x, self.kernels, self.bias, 2)


class DownBlock(ConvNorm):
    """3x3x3 convolution with its norm, ReLU, and means of 2x2 in height and width."""

    def __init__(self, cin: int, cout: int):
        super().__init__(cin, cout, 3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(super().forward(x))
        # In two dimensions, as not every device can do it in three.
        return F.avg_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3])


class Encoder(nn.Module):
    """Down blocks; forward(x) -> all maps, the finest first."""

    def __init__(self, *widths: int):
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """All maps, the finest and first of them the input."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(ConvNorm):
    """forward(all maps of the encoder) -> the finest map decoded."""

    def __init__(self, channels: int, *widths: tuple[int, int]):
        super().__init__(channels, channels, 3, 3, 3)
        self.up_blocks = nn.ModuleList(UpBlock(*width) for width in widths)

    def forward(self, maps: list[Tensor]) -> Tensor:  # type: ignore[override]  # reads all maps, not one
        """From the coarsest map up, each time joined with the encoder's map of that size. Empties the list."""
        x = maps.pop()
        for block in self.up_blocks:
            x = torch.cat((block(x), maps.pop()), 1)
        return F.relu_(super().forward(x))


class Hourglass(nn.Module):
    """A U-Net over [N, 110, 16, 64, 64] -> [N, 142, 16, 64, 64] that keeps the depth at every size."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(5 * MOTIONS, 64, 128, 256, 512, 1024)
        ups = (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 32)
        self.decoder = Decoder(32 + 5 * MOTIONS, *ups)

    def forward(self, x: Tensor) -> Tensor:
        """Decode from the coarsest map up, each time joined with the encoder's map of that size. Empties the list."""
        return self.decoder(self.encoder(x))


class DenseMotion(nn.Module):
    """Where to read the volume for the driving keypoints, and how much of each place can be seen.

    forward(volume float32 [N or 1, 32, 16, 64, 64], keypoints float32 [N, 21, 3] twice) ->
    deformation float32 [N, 16, 64, 64, 3] for grid_sample, visibility float32 [N, 1, 64, 64] in 0..1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.compress = Conv(32, 4, 1, 1, 1)
        self.norm = nn.BatchNorm3d(4)
        self.hourglass = Hourglass()
        self.mask = Conv(142, MOTIONS, 7, 7, 7)
        self.occlusion = Conv(142 * 16, 1, 7, 7)

    def fold(self) -> None:
        fold_norm(self.compress, self.norm)
        del self.norm

    def forward(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype) -> tuple[Tensor, Tensor]:
        depth, height, width = volume.shape[2:]
        size = depth, height, width
        shift = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # [N, 22, 3]
        features = F.relu_(self.compress(volume.to(dtype))).float()
        # Of each motion: its heat, then its four channels.
        x = volume.new_zeros(len(shift), MOTIONS, 5, *size)
        x[:, 1:, 0] = heatmaps(kp_driving, size) - heatmaps(kp_source, size)
        x[:, :, 1:] = shifted_volumes(features, shift)
        x = self.hourglass(x.flatten(1, 2).to(dtype))
        mask = self.mask(x).float().softmax(1)
        # The masks sum to one: what they mix is the place itself and the shifts.
        moved = torch.einsum("nkdhw,nkc->ndhwc", mask, shift)
        z, y, x_axis = (axis(length, shift) for length in size)
        moved[..., 0] += x_axis
        moved[..., 1] += y[:, None]
        moved[..., 2] += z[:, None, None]
        visible = self.occlusion(x.reshape(-1, 142 * depth, height, width))
        return moved, visible.float().sigmoid()
