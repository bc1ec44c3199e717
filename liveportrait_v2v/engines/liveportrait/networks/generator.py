"""G, the generator: a picture from warped features. A SPADE decoder.

Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve, quicker_form
from .enlarged import collapsed_kernels, convolve_enlarged
from .layers import Conv
from .winograd import BLOCK, Place, as_cells, convolve_by_winograd, winograd_blocks

HIDDEN = 128


class SpectralConv(nn.Module):
    """A convolution whose weight is kept with a spectral norm, folded away by `fold`."""

    def __init__(self, cin: int, cout: int, kernel: int, bias: bool = True):
        super().__init__()
        if bias:
            self.bias = nn.Parameter(torch.empty(cout))
        else:
            self.register_parameter("bias", None)
        self.weight_orig = nn.Parameter(torch.empty(cout, cin, kernel, kernel))
        self.register_buffer("weight_u", torch.empty(cout))
        self.register_buffer("weight_v", torch.empty(cin * kernel * kernel))

    def fold(self) -> None:
        sigma = self.weight_u.double() @ self.weight_orig.double().flatten(1) @ self.weight_v.double()
        self.weight = nn.Parameter(self.weight_orig / sigma.float())
        del self.weight_orig, self.weight_u, self.weight_v

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


class SharedConv(nn.Module):
    """The 3x3 convolution of one or two SPADEs over the enlarged features, with ReLU, without enlarging them.

    forward(features [N, cin, h, w]) -> [N, cout, scale * h, scale * w].
    """

    def __init__(self, convs: list[Conv], scale: int):
        super().__init__()
        self.scale = scale
        weight = torch.cat([conv.weight for conv in convs])
        self.bias = nn.Parameter(torch.cat([conv.bias for conv in convs]))
        self.kernels = nn.ParameterDict(collapsed_kernels(weight, scale))

    def forward(self, features: Tensor) -> Tensor:
        return convolve_enlarged(features, self.kernels, self.bias, self.scale)


class Spade(nn.Module):
    """Spatially adaptive normalization: normalized x * (1 + gamma) + beta, gamma and beta by a convolution.

    forward(normalized [N, C, h, w], hidden [N, 128, H, W], slope) -> [N, C, H, W]. What is normalized is enlarged by
    nearest neighbours to the size of `hidden`; the result goes through a LeakyReLU, if it has a slope.
    """

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.mlp_shared = nn.Sequential(Conv(features, HIDDEN, 3, 3))
        self.mlp_gamma = Conv(HIDDEN, channels, 3, 3)
        self.mlp_beta = Conv(HIDDEN, channels, 3, 3)

    def fold(self) -> None:
        # Some gammas, their betas, the next gammas and so on: what belongs together comes out together.
        self.channels = min(len(self.mlp_gamma.bias), BLOCK // 2)
        both = self.mlp_gamma, self.mlp_beta
        weights = [conv.weight.unflatten(0, (-1, self.channels)) for conv in both]
        biases = [bias.view(-1, self.channels) for bias in (self.mlp_gamma.bias + 1, self.mlp_beta.bias)]
        self.weight = nn.Parameter(torch.stack(weights, 1).flatten(0, 2))
        self.bias = nn.Parameter(torch.stack(biases, 1).flatten())
        del self.mlp_gamma, self.mlp_beta

    def forward(self, normalized: Tensor, hidden: Tensor, slope: float | None = None) -> Tensor:
        if quicker_form(hidden, self.weight) is convolve_by_winograd:
            return self._by_blocks(normalized, hidden, slope)
        both = convolve(hidden, self.weight, self.bias).unflatten(1, (-1, 2, self.channels))
        count, channels, height, width = normalized.shape
        cells = height, hidden.shape[2] // height, width, hidden.shape[3] // width
        gamma, beta = both.view(count, -1, 2, self.channels, *cells).unbind(2)
        normalized = normalized.view(count, -1, self.channels, height, 1, width, 1)
        x = torch.addcmul(beta, gamma, normalized).view(count, channels, *hidden.shape[2:])
        return x if slope is None else F.leaky_relu_(x, slope)

    def _by_blocks(self, normalized: Tensor, hidden: Tensor, slope: float | None) -> Tensor:
        """The same, block by block of the convolution, so that gamma and beta never lie in memory as a whole."""
        gamma, beta = self.bias.view(-1, 2, self.channels, 1, 1).unbind(1)
        known = torch.addcmul(beta.flatten(0, 1), normalized, gamma.flatten(0, 1))
        scale = hidden.shape[2] // normalized.shape[2]
        out = hidden.new_empty(*normalized.shape[:2], *hidden.shape[2:])
        cells = as_cells(out)
        # Of a cell, `scale` by `scale` samples show the same place of what is normalized.
        known, normalized = (as_cells(x, 4 // scale).unsqueeze(5).unsqueeze(8) for x in (known, normalized))

        def modulate(place: Place, samples: Tensor) -> None:
            n, channels, planes, rows = place
            place = n, slice(channels.start // 2, channels.stop // 2), planes, rows
            gamma, beta = samples.chunk(2)
            enlarged = gamma.unflatten(-1, (-1, scale)).unflatten(3, (-1, scale))
            torch.addcmul(known[place], enlarged, normalized[place], out=enlarged)
            gamma.add_(beta)
            if slope is not None:
                F.leaky_relu_(gamma, slope)
            cells[place].copy_(gamma)

        winograd_blocks(hidden, self.weight, modulate)
        return out


class SpadeBlock(nn.Module):
    """SPADE residual block: norm, LeakyReLU and 3x3 convolution, twice.

    forward(x [N, cin, h, w], features [N, 256, 64, 64]) -> [N, cout, H, W], where H is 64 times `scale`; x is enlarged
    to that by nearest neighbours. Where cin and cout differ, a norm and a 1x1 convolution lead past.
    """

    def __init__(self, cin: int, cout: int, features: int, scale: int = 1):
        super().__init__()
        middle = min(cin, cout)
        self.scale = scale
        self.shortcut = cin != cout
        self.conv_0 = SpectralConv(cin, middle, 3)
        self.conv_1 = SpectralConv(middle, cout, 3)
        self.norm_0 = Spade(cin, features)
        self.norm_1 = Spade(middle, features)
        if self.shortcut:
            self.conv_s = SpectralConv(cin, cout, 1, bias=False)
            self.norm_s = Spade(cin, features)

    def fold(self) -> None:
        ahead = [self.norm_0, self.norm_s] if self.shortcut else [self.norm_0]
        self.shared_0 = SharedConv([norm.mlp_shared[0] for norm in ahead], self.scale)
        self.shared_1 = SharedConv([self.norm_1.mlp_shared[0]], self.scale)
        for norm in (*ahead, self.norm_1):
            del norm.mlp_shared

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        # Enlarging by nearest neighbours changes neither mean nor variance.
        normalized = F.instance_norm(x)
        hidden = self.shared_0(features)
        y = self.conv_0(self.norm_0(normalized, hidden[:, :HIDDEN], 0.2))
        if self.shortcut:
            x = self.conv_s(self.norm_s(normalized, hidden[:, HIDDEN:]))
        del normalized, hidden
        y = self.norm_1(F.instance_norm(y), self.shared_1(features), 0.2)
        return self.conv_1(y).add_(x)


class SpadeGenerator(nn.Module):
    """G of the paper: forward(features [N, 256, 64, 64]) -> logits [N, 3, 512, 512] of RGB in 0..1.

    It computes in the dtype of the features.
    """

    def __init__(self):
        super().__init__()
        self.fc = Conv(256, 512, 3, 3)
        for i in range(6):
            self.add_module(f"G_middle_{i}", SpadeBlock(512, 512, 256))
        self.up_0 = SpadeBlock(512, 256, 256, scale=2)
        self.up_1 = SpadeBlock(256, 64, 256, scale=4)
        self.conv_img = nn.Sequential(Conv(64, 12, 3, 3))

    def forward(self, features: Tensor) -> Tensor:
        x = self.fc(features)
        for i in range(6):
            x = getattr(self, f"G_middle_{i}")(x, features)
        x = self.up_1(self.up_0(x, features), features)
        return F.pixel_shuffle(self.conv_img(F.leaky_relu_(x, 0.2)), 2)
