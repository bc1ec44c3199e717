"""G, the generator: a picture from warped features. A SPADE decoder.

Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve, quicker_form
from .cpu.nnpack import convolve_by_nnpack
from .cpu.winograd import BLOCK, Place, as_cells, convolve_by_winograd, winograd_blocks
from .enlarged import convolve_enlarged, enlarged_kernels, tap_bias, tap_kernel
from .gpu.forms import Forms, bias_as_weight, fused_instance_norm, plain_kernel, with_ones
from .layers import Conv, instance_norm

HIDDEN = 128
# Rows of large maps that are computed at a time: with margins ten tiles of NNPACK's, whole ones of Winograd's, whole
# cells of any scale. Maps of more take over 32 MB, for which C libraries have the system map fresh memory each time.
ROWS = 56
IN_STRIPS = convolve_by_nnpack, convolve_by_winograd
MARGIN = 2  # rows that two 3x3 convolutions see on both sides


class SpectralConv(nn.Module):
    """A convolution whose weight is kept with a spectral norm, folded away by `fold`."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, cin: int, cout: int, kernel: int, bias: bool = True):
        super().__init__()
        self.bias: nn.Parameter | None = nn.Parameter(torch.empty(cout)) if bias else None
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
    """The 3x3 convolutions of one or two SPADEs over the enlarged features, with ReLU, without enlarging them.

    forward(features [N, cin, h, w], cells) -> [N, cout, H, scale * w] for each SPADE: H is `scale` times the rows of
    the features that `cells` names, by default all.
    """

    def __init__(self, convs: list[Conv], scale: int):
        super().__init__()
        self.scale = scale
        self.norms = len(convs)
        self._sum_taps: Callable[..., tuple[Tensor, ...]] | None = None  # a Triton kernel
        self.bias: nn.Parameter | None = nn.Parameter(
            torch.cat([conv.bias for conv in convs if conv.bias is not None])
        )
        self._keep(torch.cat([conv.weight for conv in convs]), enlarge=scale > 1)

    @property
    def fused(self) -> bool:
        """Whether a kernel of Triton's sums products up; it gives all rows."""
        return self._sum_taps is not None

    def _keep(self, weight: Tensor, enlarge: bool) -> None:
        """Keep a kernel as it is, or those that take the place of enlarged maps."""
        self.weight = None if enlarge else nn.Parameter(weight, requires_grad=False)
        self.kernels = nn.ParameterDict(enlarged_kernels(weight) if enlarge else {}).requires_grad_(False)

    def arrange(self, forms: Forms) -> None:
        enlarge = self.scale > 1 and not forms.plain
        by_taps = forms.fused_enlarged and enlarge
        if enlarge == (self.weight is None) and not (forms.ones or by_taps):
            return
        weight = plain_kernel(self.kernels) if self.weight is None else self.weight.data
        if forms.ones:
            assert self.bias is not None
            norms = zip(weight.split(HIDDEN), self.bias.split(HIDDEN), strict=True)
            weight = torch.cat([bias_as_weight(*norm, one=True) for norm in norms])
            self.bias = None
        if by_taps:
            from .gpu.fused_enlarged import sum_taps  # needs Triton

            self._sum_taps = sum_taps
            weight = tap_kernel(weight.chunk(self.norms))
            self.bias = None if self.bias is None else nn.Parameter(tap_bias(self.bias.chunk(self.norms)))
        self._keep(weight, enlarge and not by_taps)

    def forward(self, features: Tensor, cells: slice = slice(None)) -> tuple[Tensor, ...]:
        if self._sum_taps is not None:
            assert self.weight is not None
            assert cells == slice(None)
            return self._sum_taps(convolve(features, self.weight, self.bias), self.norms, self.scale)
        if self.weight is None:
            found = convolve_enlarged(features, self.kernels, self.bias, self.scale, cells)
            return found.chunk(self.norms, 1)
        first, last, _ = cells.indices(features.shape[2])
        if self.scale > 1:
            features = F.interpolate(features, scale_factor=self.scale, mode="nearest")
        found = F.relu_(convolve(features, self.weight, self.bias))
        return found[:, :, self.scale * first : self.scale * last].chunk(self.norms, 1)


class Spade(nn.Module):
    """Spatially adaptive normalization: normalized x * (1 + gamma) + beta, gamma and beta by a convolution.

    forward(normalized [N, C, h, w], hidden [N, 128, H, W], slope) -> [N, C, H, W]. What is normalized is enlarged by
    nearest neighbours to the size of `hidden`; the result goes through a LeakyReLU, if it has a slope. By Triton's
    kernels, `normalized` is what `fused_spade.measure` gives.
    """

    def __init__(self, channels: int, features: int):
        super().__init__()
        self._modulate: Callable[..., Tensor] | None = None  # in place of what follows the convolution
        self.mlp_shared = nn.Sequential(Conv(features, HIDDEN, 3, 3))
        self.mlp_gamma = Conv(HIDDEN, channels, 3, 3)
        self.mlp_beta = Conv(HIDDEN, channels, 3, 3)

    @property
    def fused(self) -> bool:
        """Whether Triton's kernels do what follows the convolution."""
        return self._modulate is not None

    @property
    def shared_conv(self) -> Conv:
        """The convolution of the features, until the block that owns this norm folds it away."""
        conv = self.mlp_shared[0]
        assert isinstance(conv, Conv)
        return conv

    def fold(self) -> None:
        assert self.mlp_gamma.bias is not None
        assert self.mlp_beta.bias is not None
        self.weight = nn.Parameter(torch.cat((self.mlp_gamma.weight, self.mlp_beta.weight)))
        self.bias: nn.Parameter | None = nn.Parameter(
            torch.cat((self.mlp_gamma.bias + 1, self.mlp_beta.bias))
        )
        del self.mlp_gamma, self.mlp_beta

    def arrange(self, forms: Forms) -> None:
        if forms.ones:
            assert self.bias is not None
            weight = bias_as_weight(self.weight, self.bias, one=False)
            self.weight, self.bias = nn.Parameter(weight, requires_grad=False), None
        if forms.fused_spade:
            from .gpu.fused_spade import modulate  # needs Triton

            self._modulate = modulate

    def forward(self, normalized: Any, hidden: Tensor, slope: float | None = None) -> Tensor:
        if self._modulate is not None:
            return self._modulate(normalized, convolve(hidden, self.weight, self.bias), slope)
        if quicker_form(hidden, self.weight) is convolve_by_winograd:
            return self._by_blocks(normalized, hidden, slope)
        height, width = normalized.shape[2:]
        both = convolve(hidden, self.weight, self.bias).unflatten(3, (width, -1)).unflatten(2, (height, -1))
        gamma, beta = both.chunk(2, 1)
        # In gamma's place, as fresh memory takes time on CPUs. GPUs' convolutions want a batch in one piece.
        out = gamma if gamma.device.type == "cpu" and not torch.compiler.is_compiling() else None
        x = torch.addcmul(beta, gamma, normalized[:, :, :, None, :, None], out=out).flatten(4).flatten(2, 3)
        return x if slope is None else F.leaky_relu_(x, slope)

    def _by_blocks(self, normalized: Tensor, hidden: Tensor, slope: float | None) -> Tensor:
        """Do the same block by block of the convolution, so that gamma and beta are never in memory as a whole."""
        half = min(BLOCK, len(self.weight)) // 2
        # Some gammas, their betas, the next gammas and so on: what belongs together comes out together.
        weight, bias = (
            None if both is None else both.unflatten(0, (2, -1, half)).transpose(0, 1).flatten(0, 2)
            for both in (self.weight, self.bias)
        )
        assert weight is not None
        scale = hidden.shape[2] // normalized.shape[2]
        out = hidden.new_empty(*normalized.shape[:2], *hidden.shape[2:])
        cells = as_cells(out)
        # Of a cell, `scale` by `scale` samples show the same place of what is normalized.
        normalized = as_cells(normalized, 4 // scale).unsqueeze(5).unsqueeze(8)

        def modulate(place: Place, samples: Tensor) -> None:
            n, channels, planes, rows = place
            place = n, slice(channels.start // 2, channels.stop // 2), planes, rows
            gamma, beta = (x.unflatten(-1, (-1, scale)).unflatten(3, (-1, scale)) for x in samples.chunk(2))
            torch.addcmul(beta, gamma, normalized[place], out=gamma)
            gamma = gamma.flatten(6, 7).flatten(3, 4)
            cells[place].copy_(gamma if slope is None else F.leaky_relu_(gamma, slope))

        winograd_blocks(hidden, weight, bias, modulate)
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
        self.instance_norm: Callable[[Tensor], Any] = instance_norm
        self.conv_0 = SpectralConv(cin, middle, 3)
        self.conv_1 = SpectralConv(middle, cout, 3)
        self.norm_0 = Spade(cin, features)
        self.norm_1 = Spade(middle, features)
        if self.shortcut:
            self.conv_s = SpectralConv(cin, cout, 1, bias=False)
            self.norm_s = Spade(cin, features)

    def fold(self) -> None:
        ahead = [self.norm_0, self.norm_s] if self.shortcut else [self.norm_0]
        self.shared_0 = SharedConv([norm.shared_conv for norm in ahead], self.scale)
        self.shared_1 = SharedConv([self.norm_1.shared_conv], self.scale)
        for norm in (*ahead, self.norm_1):
            del norm.mlp_shared

    def arrange(self, forms: Forms) -> None:
        if forms.fused_spade:
            from .gpu.fused_spade import measure  # needs Triton

            self.instance_norm = measure
        elif forms.fused_norm:
            self.instance_norm = fused_instance_norm

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        # Enlarging by nearest neighbours changes neither mean nor variance.
        normalized = self.instance_norm(x)
        y, *past = in_strips(self._ahead, self.norm_0, normalized, self.shared_0, features)
        x = past[0] if past else x
        del normalized
        (y,) = in_strips(self._after, self.norm_1, self.instance_norm(y), self.shared_1, features)
        return y.add_(x)

    def _ahead(self, normalized: Any, hidden: Tensor, *hidden_past: Tensor) -> list[Tensor]:
        """Apply the first norm and convolution, and those of the shortcut where it has any."""
        found = [self.conv_0(self.norm_0(normalized, hidden, 0.2))]
        found += [self.conv_s(self.norm_s(normalized, x)) for x in hidden_past]
        return found

    def _after(self, normalized: Any, hidden: Tensor) -> list[Tensor]:
        """Apply the second norm and convolution."""
        return [self.conv_1(self.norm_1(normalized, hidden, 0.2))]


def in_strips(
    function: Callable[..., list[Tensor]],
    norm: Spade,
    normalized: Any,
    shared: SharedConv,
    features: Tensor,
) -> list[Tensor]:
    """Apply a norm and the convolution after it, in strips of rows where that takes less memory and no longer.

    Args:
        function: of what is normalized and of the hidden maps, some rows of both, for maps [N, C, H, W] of these rows.
        norm: the one with which `function` begins.
        normalized: as `Spade` takes it.
        shared: gives the hidden maps, of `features`.
    """
    height, width = (shared.scale * size for size in features.shape[2:])
    hidden = features[:, :1, :1, :1].expand(-1, HIDDEN, height, width)  # takes no memory
    at_once = norm.fused or shared.fused or height <= ROWS + 4 * MARGIN
    if at_once or quicker_form(hidden, norm.weight) not in IN_STRIPS:
        return function(normalized, *shared(features))
    scale = height // normalized.shape[2]
    found: list[Tensor] = []
    for start in range(0, height - 2 * MARGIN, ROWS):
        stop = min(height, start + ROWS + 2 * MARGIN)
        parts = shared(features, slice(start // shared.scale, stop // shared.scale))
        strips = function(normalized[:, :, start // scale : stop // scale], *parts)
        found = found or [x.new_empty(*x.shape[:2], height, width) for x in strips]
        top = start + MARGIN if start else 0
        for whole, x in zip(found, strips, strict=True):
            # What it has of the margin below is written over by the next one.
            whole[:, :, top:stop] = x[:, :, top - start :]
    return found


class SpadeGenerator(nn.Module):
    """G of the paper: forward(features [N, 256, 64, 64]) -> logits [N, 3, 512, 512] of RGB in 0..1.

    It computes in the dtype of the features.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ones = False
        self.fc = Conv(256, 512, 3, 3)
        for i in range(6):
            self.add_module(f"G_middle_{i}", SpadeBlock(512, 512, 256))
        self.up_0 = SpadeBlock(512, 256, 256, scale=2)
        self.up_1 = SpadeBlock(256, 64, 256, scale=4)
        self.conv_img = nn.Sequential(Conv(64, 12, 3, 3))

    def fold(self) -> None:
        # Constants of whole maps: instance norms, and nothing else, see them next.
        self.fc.bias = None
        for name, block in self.named_children():
            if isinstance(block, SpadeBlock):
                block.conv_0.bias = None
                if name != "up_1":
                    block.conv_1.bias = None

    def arrange(self, forms: Forms) -> None:
        self._ones = forms.ones

    def forward(self, features: Tensor) -> Tensor:
        x = self.fc(features)
        features = with_ones(features) if self._ones else features
        for i in range(6):
            x = getattr(self, f"G_middle_{i}")(x, features)
        x = self.up_1(self.up_0(x, features), features)
        return F.pixel_shuffle(self.conv_img(F.leaky_relu_(x, 0.2)), 2)
