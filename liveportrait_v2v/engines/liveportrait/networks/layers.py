"""Layers that several of the networks are made of, and how norms are folded into convolutions.

A network is built with the parameters and the names that the published files have. `fold` then turns it, once and
exactly, into what runs: batch norm and spectral norm become part of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve
from .gpu.forms import Forms, of_planes, padded, to_channels_last


class Conv(nn.Module):
    """Convolution with odd kernel and zero padding that keeps the size: [N, cin, ...] -> [N, cout, ...].

    It computes in the dtype of its input, whatever the dtype that its weights are kept in.
    """

    def __init__(self, cin: int, cout: int, *kernel: int, bias: bool = True):
        super().__init__()
        self._activate: Callable[..., Tensor] | None = None  # Triton's, for what follows the convolution
        self.weight = nn.Parameter(torch.empty(cout, cin, *kernel))
        self.bias: nn.Parameter | None = nn.Parameter(torch.empty(cout)) if bias else None

    def arrange(self, forms: Forms) -> None:
        if forms.fused_activation:
            from .gpu.fused_activation import activate  # needs Triton

            self._activate = activate

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)

    def active(self, x: Tensor, slope: float = 0.0, pool: int = 1) -> Tensor:
        """Apply the convolution and a LeakyReLU, and take the means of each `pool` by `pool` in height and width."""
        if self._activate is not None:
            return self._activate(convolve(x, self.weight, None), self.bias, slope, pool)
        x = self(x)
        x = F.leaky_relu_(x, slope) if slope else F.relu_(x)
        return x if pool == 1 else of_planes(lambda planes: F.avg_pool2d(planes, pool), x)

    def pad(self, cin: int, cout: int) -> None:
        """Give a folded layer more channels, whose weights are zeros."""
        self.weight.data = padded(self.weight, cout, cin)
        if self.bias is not None:
            self.bias.data = padded(self.bias, cout)


def instance_norm(x: Tensor) -> Tensor:
    """Give each map of x [N, C, H, W] mean 0 and variance 1."""
    if x.device.type != "cpu":
        return F.instance_norm(x)
    return F.layer_norm(x.flatten(2), (x[0, 0].numel(),)).view_as(x)  # twice as fast there


@runtime_checkable
class Folds(Protocol):
    """A layer that turns into what runs, once its weights are loaded."""

    def fold(self) -> None:
        """Fold every layer of a network that can be folded; the network is then fit for inference only."""


@runtime_checkable
class Arranges(Protocol):
    """A layer that computes in one way or another."""

    def arrange(self, forms: Forms) -> None:
        """Take the forms, once the layer is folded."""


class ConvNorm(nn.Module):
    """Convolution with the batch norm that follows it, and a ReLU."""

    def __init__(self, cin: int, cout: int, *kernel: int):
        super().__init__()
        self.conv = Conv(cin, cout, *kernel)
        self.norm = nn.BatchNorm3d(cout)

    def fold(self) -> None:
        fold_norm(self.conv, self.norm)
        del self.norm

    def forward(self, x: Tensor, slope: float = 0.0, pool: int = 1) -> Tensor:
        return self.conv.active(x, slope, pool)


class Affine(nn.Module):
    """A batch norm without a convolution before it: x * scale + shift over [N, C, D, H, W]."""

    def __init__(self, norm: nn.BatchNorm3d):
        super().__init__()
        scale, shift = _scale_and_shift(norm)
        self.scale = nn.Parameter(scale.float().view(-1, 1, 1, 1))
        self.shift = nn.Parameter(shift.float().view(-1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


def _scale_and_shift(norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return a batch norm with its stored statistics as float64 scale and shift [C]."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def fold_norm(conv: Conv, norm: nn.BatchNorm3d) -> None:
    """Make a batch norm part of the convolution before it."""
    scale, shift = _scale_and_shift(norm)
    assert conv.bias is not None
    weight = conv.weight.double() * scale.view(-1, *[1] * (conv.weight.dim() - 1))
    conv.weight = nn.Parameter(weight.float())
    conv.bias = nn.Parameter((conv.bias.double() * scale + shift).float())


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """Folds every layer of a network that has something to fold; the network is then fit for inference alone."""
    for module in list(network.modules()):
        if isinstance(module, Folds):
            module.fold()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def arrange(network: nn.Module, forms: Forms) -> None:
    """Have a folded network compute in these forms."""
    for module in list(network.modules()):
        if isinstance(module, Arranges):
            module.arrange(forms)
    if forms.layout == "channels_last":
        for module in network.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.dim() >= 4 and not isinstance(module, Affine):
                    parameter.data = to_channels_last(parameter)


def convolutions_to(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of a folded network's convolutions in a dtype."""
    for module in network.modules():
        if not isinstance(module, Affine):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
