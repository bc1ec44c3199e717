"""Convolutions, each by the arithmetic that is quickest where it runs. All forms differ in rounding alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .calibration import quickest
from .forms import laid_out_for
from .fourier import TILE, convolve_by_fourier
from .nnpack import convolve_by_nnpack, nnpack_works
from .products import convolve_by_products, convolve_unfolded
from .winograd import convolve_by_winograd

# With fewer channels the transforms cost more than the products save, on smaller maps the kernel's: from how many
# samples on the forms are quicker, from how many channels NNPACK, and from which ratio of products to transforms
# Winograd's form in products of matrices.
NNPACK_SAMPLES_FROM, WINOGRAD_SAMPLES_FROM = 2048, 4096
NNPACK_FROM, WINOGRAD_FROM = 32, 45
# Products for each plane of a kernel pay from as many samples on, where torch copies more than it multiplies; one
# product with all that a sample sees for maps of up to as many.
PRODUCTS_FROM, UNFOLDED_TO = 1024, 16

Form = Callable[[Tensor, Tensor, Any], Tensor]
# The usual form, and NNPACK's for CPUs on which that is quicker.
FORMS_3X3: dict[str, Form] = {"Winograd": convolve_by_winograd, "NNPACK": convolve_by_nnpack}
FORMS_7X7X7: dict[str, Form] = {"Fourier": convolve_by_fourier, "NNPACK": convolve_by_nnpack}


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


def quicker_form(x: Tensor, weight: Tensor) -> Form | None:
    """Return what is quicker than torch's convolution for tensors of these shapes on their device, if anything is."""
    if x.dtype is not torch.float32 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    cout, cin, *kernel = weight.shape
    height, width = x.shape[-2:]
    deep = math.prod(kernel[:-2])
    samples = x[0, 0].numel()
    if len(kernel) == 2 and cout == 1:
        return convolve_to_one
    if len(kernel) == 3:
        if kernel[1:] == [1, 1] and samples >= PRODUCTS_FROM:
            return convolve_by_products
        if kernel[1:] == [3, 3] and height * width <= UNFOLDED_TO:
            return convolve_unfolded
    by_nnpack = min(cin, deep * cout) >= NNPACK_FROM and samples >= NNPACK_SAMPLES_FROM and nnpack_works()
    if kernel[-2:] == [3, 3]:
        if by_nnpack and quickest("3x3", FORMS_3X3, _trial_3x3) is convolve_by_nnpack:
            return convolve_by_nnpack
        enough = deep * cin * cout / (cin + cout) >= WINOGRAD_FROM and samples >= WINOGRAD_SAMPLES_FROM
        return convolve_by_winograd if enough and height % 4 == width % 4 == 0 else None
    if len(kernel) == 3 and kernel[1:] == [7, 7]:
        if by_nnpack and quickest("7x7x7", FORMS_7X7X7, _trial_7x7x7) is convolve_by_nnpack:
            return convolve_by_nnpack
        return convolve_by_fourier if height % TILE == width % TILE == 0 else None
    return None


def _trial_3x3() -> tuple[Tensor, ...]:
    """Return a convolution of the size of many."""
    return torch.ones(1, 256, 64, 64), torch.ones(256, 256, 3, 3), torch.ones(256)


def _trial_7x7x7() -> tuple[Tensor, ...]:
    """Return a quarter of the dense motion's."""
    return torch.ones(1, 71, 8, 64, 64), torch.ones(22, 71, 7, 7, 7), torch.ones(22)


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
