"""From two sets of keypoints to a dense motion: where each point of the volume looks, and what it can't see.

Grids run from -1 to 1 over the centres of the first and last sample but are read as if over the outer edges, as the
published weights were trained: sample i of n reads at i * n / (n - 1) - 1/2, a slight zoom.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve
from .enlarged import convolve_enlarged, enlarged_kernels
from .gpu.forms import Forms, in_channels_last, laid_out_for, next_multiple, of_planes, padded, plain_kernel
from .layers import Conv, ConvNorm, fold_norm
from .motion import KEYPOINTS

MOTIONS = KEYPOINTS + 1  # the first is the background's, which stands still
HEAT_VARIANCE = 0.01
FAINTEST = 1e-8  # heat below it, along one axis, counts as none


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
    """Gaussian bumps at keypoints float32 [N, K, 3] (x, y, z) -> float32 [N, K, *size], as a product of three.

    Their tails, thinner than float32's rounding beside 1, are cut off: they would reach subnormal numbers, with which
    CPUs compute ten times slower.
    """

    def bump(length: int, i: int) -> Tensor:
        heat = torch.exp(-0.5 / HEAT_VARIANCE * (axis(length, keypoints) - keypoints[..., i, None]) ** 2)
        return F.threshold(heat, FAINTEST, 0)

    depth, height, width = (bump(length, i) for i, length in zip((2, 1, 0), size, strict=True))
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
        self.plain: Conv | None = None  # in place of the kernels, where maps are really enlarged
        del self.conv

    def arrange(self, forms: Forms) -> None:
        if not forms.plain_volumes:
            return
        weight = plain_kernel(self.kernels)
        self.plain = Conv(weight.shape[1], weight.shape[0], *weight.shape[2:])
        self.plain.weight, self.plain.bias = nn.Parameter(weight), self.bias
        self.plain.requires_grad_(False).arrange(forms)
        del self.kernels

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # always ReLU, no means
        if self.plain is None:
            return convolve_enlarged(x, self.kernels, self.bias, 2)
        return self.plain.active(
            of_planes(lambda planes: F.interpolate(planes, scale_factor=2, mode="nearest"), x)
        )


class Encoder(nn.Module):
    """3x3x3 convolutions, each with means of 2x2 in height and width; forward(x) -> all maps, the finest first."""

    def __init__(self, *widths: int):
        super().__init__()
        self.down_blocks = nn.ModuleList(ConvNorm(a, b, 3, 3, 3) for a, b in pairwise(widths))

    @property
    def first(self) -> Conv:
        """The convolution of the input."""
        block = self.down_blocks[0]
        assert isinstance(block, ConvNorm)
        return block.conv

    def forward(self, x: Tensor) -> list[Tensor]:
        """All maps, the finest and first of them the input."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1], pool=2))
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
        return super().forward(x)


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


class ByPlanes(nn.Module):
    """A convolution of volumes as one of their planes: the kernel's planes are output channels, added up by place.

    forward(x [N, cin, D, H, W]) -> float32 [N, cout, D, H, W].
    """

    def __init__(self, conv: Conv, pad: bool):
        super().__init__()
        assert conv.bias is not None
        self.cout, _, self.deep = conv.weight.shape[:3]
        flat = conv.weight.permute(2, 0, 1, 3, 4).flatten(0, 1)
        flat = padded(flat, next_multiple(len(flat))) if pad else flat.contiguous()
        self.weight = nn.Parameter(flat, requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        count, depth = len(x), x.shape[2]
        found = convolve(x.transpose(1, 2).flatten(0, 1), self.weight, None)[:, : self.deep * self.cout]
        found = found.unflatten(1, (self.deep, self.cout)).unflatten(0, (count, depth))
        middle = self.deep // 2
        total = found[:, :, middle].float() + self.bias.float().view(-1, 1, 1)
        for k in range(self.deep):
            # Output plane of the first input plane under this plane of the kernel.
            shift = middle - k
            first, last = max(0, shift), min(depth, depth + shift)
            if shift and first < last:
                total[:, first:last] += found[:, first - shift : last - shift, k]
        return total.transpose(1, 2)


class ToOne(nn.Module):
    """A convolution of all planes of a volume to one map: products with each tap of the kernel, which a fold sums up.

    forward(x [N, C, D, H, W]) -> float32 [N, 1, H, W].
    """

    def __init__(self, conv: Conv):
        super().__init__()
        assert conv.bias is not None
        self.size = conv.weight.shape[2:]
        self.weight = nn.Parameter(conv.weight.flip(2, 3).flatten(2)[0].t().contiguous(), requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        channels, depth, height, width = x.shape[1:]
        weight = self.weight.to(x.dtype)  # [taps, C D]
        if in_channels_last(x):
            samples = x.permute(0, 2, 3, 4, 1).flatten(2, 3)  # [N, D, H W, C], as it lies
            by_plane = weight.unflatten(1, (channels, depth)).permute(2, 1, 0)
            taps = (samples @ by_plane).sum(1, dtype=torch.float32).transpose(1, 2)
        else:
            taps = (weight @ x.flatten(1, 2).flatten(2)).float()
        around = self.size[0] // 2, self.size[1] // 2
        return F.fold(taps, (height, width), tuple(self.size), padding=around) + self.bias.float()


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
        self.mask: Conv | ByPlanes = Conv(142, MOTIONS, 7, 7, 7)
        self.occlusion: Conv | ToOne = Conv(142 * 16, 1, 7, 7)

    def fold(self) -> None:
        fold_norm(self.compress, self.norm)
        del self.norm

    def arrange(self, forms: Forms) -> None:
        mask, occlusion, last = self.mask, self.occlusion, self.hourglass.decoder.conv
        assert isinstance(mask, Conv)
        assert isinstance(occlusion, Conv)
        if forms.padded:
            first = self.hourglass.encoder.first
            first.pad(next_multiple(first.weight.shape[1]), len(first.weight))
            channels = next_multiple(len(last.weight))
            planes = occlusion.weight.shape[1] // len(last.weight)
            last.pad(channels, channels)
            mask.pad(channels, len(mask.weight) if forms.planes else next_multiple(len(mask.weight)))
            # Its input channels are those of the volume, with their planes.
            by_plane = occlusion.weight.unflatten(1, (-1, planes))
            occlusion.weight.data = padded(by_plane, 1, channels).flatten(1, 2)
        if forms.planes:
            self.mask = ByPlanes(mask, forms.padded)
        if forms.to_one:
            self.occlusion = ToOne(occlusion)

    def forward(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype) -> tuple[Tensor, Tensor]:
        depth, height, width = volume.shape[2:]
        size = depth, height, width
        shift = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # [N, 22, 3]
        features = F.relu_(self.compress(laid_out_for(volume, self.compress.weight, dtype))).float()
        first = self.hourglass.encoder.first.weight
        x = volume.new_zeros(len(shift), first.shape[1], *size)
        # Of each motion: its heat, then its four channels.
        motions = x[:, : 5 * MOTIONS].unflatten(1, (MOTIONS, 5))
        motions[:, 1:, 0] = heatmaps(kp_driving, size) - heatmaps(kp_source, size)
        motions[:, :, 1:] = shifted_volumes(features, shift)
        x = self.hourglass(laid_out_for(x, first, dtype))
        mask = self.mask(x)[:, :MOTIONS].float().softmax(1)
        # The masks sum to one: what they mix is the place itself and the shifts.
        moved = torch.einsum("nkdhw,nkc->ndhwc", mask, shift)
        z, y, x_axis = (axis(length, shift) for length in size)
        moved[..., 0] += x_axis
        moved[..., 1] += y[:, None]
        moved[..., 2] += z[:, None, None]
        visible = self.occlusion(x if isinstance(self.occlusion, ToOne) else x.flatten(1, 2))
        return moved, visible.float().sigmoid()
