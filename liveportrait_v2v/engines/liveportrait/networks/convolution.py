"""Convolutions, each by the arithmetic that is quickest where it runs. All forms differ in rounding alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .forms import laid_out_for
from .fourier import TILE, convolve_by_fourier
from .nnpack import convolve_by_nnpack, nnpack_works
from .winograd import convolve_by_winograd

# With fewer channels the transforms cost more than the products save, on smaller maps the kernel's: how many channels
# and samples it takes for NNPACK to be quicker, and for Winograd's form in products of matrices.
NNPACK_FROM = 32, 2048
WINOGRAD_FROM = 128, 4096


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padded: bool = False) -> Tensor:
    """Convolve [N, cin, (D,) H, W] with a kernel [cout, cin, ...], in the dtype of x.

    Zeros are put around, so that the size stays; the kernel is odd then. Not where x is `padded` already.
    """
    # CPUs take minutes for float16: they round to it what they compute in float32, as tensor cores do.
    dtype = torch.float32 if x.dtype is torch.float16 and x.device.type == "cpu" else x.dtype
    given, x, weight = x.dtype, x.to(dtype), weight.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    form = None if padded else quicker_form(x, weight)
    if form is not None:
        return form(x, weight, bias).to(given)
    padding = [0 if padded else size // 2 for size in weight.shape[2:]]
    plain = F.conv2d if weight.dim() == 4 else F.conv3d
    return plain(laid_out_for(x, weight), weight, bias, padding=padding).to(given)


def quicker_form(x: Tensor, weight: Tensor) -> Callable[[Tensor, Tensor, Any], Tensor] | None:
    """Return what is quicker than torch's convolution for tensors of these shapes on their device, if anything is."""
    if x.dtype is not torch.float32 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    cout, cin, *kernel = weight.shape
    height, width = x.shape[-2:]
    deep = math.prod(kernel[:-2])
    samples = x[0, 0].numel()
    if cout == 1 and len(kernel) == 2:
        return convolve_to_one
    few, small = NNPACK_FROM
    if (
        kernel[-2:] in ([3, 3], [7, 7])
        and min(cin, deep * cout) >= few
        and samples >= small
        and nnpack_works()
    ):
        return convolve_by_nnpack
    if min(kernel) >= 7 and len(kernel) == 3 and height % TILE == width % TILE == 0:
        return convolve_by_fourier
    few, small = WINOGRAD_FROM
    if (
        kernel[-2:] == [3, 3]
        and deep * min(cin, cout) >= few
        and samples >= small
        and height % 4 == width % 4 == 0
    ):
        return convolve_by_winograd
    return None


def convolve_to_one(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve in 2-D to one channel: a product weighs each sample with each tap, and a fold sums them up.

    Args:
        x: float32 [N, cin, H, W].
        weight: float32 [1, cin, kh, kw], sizes odd.
        bias: float32 [1].
    """
    size = weight.shape[2:]
    taps = weight.flip(2, 3).flatten(2)[0].t() @ x.flatten(2)
    return F.fold(taps, x.shape[2:], size, padding=(size[0] // 2, size[1] // 2)) + bias
