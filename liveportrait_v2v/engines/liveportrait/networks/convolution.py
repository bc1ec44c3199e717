"""Convolutions, each by the arithmetic that is quickest where it runs. All forms differ in rounding alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .cpu.calibration import quickest
from .cpu.fourier import TILE, convolve_by_fourier
from .cpu.nnpack import convolve_by_nnpack, let_waiting_threads_sleep, nnpack_works
from .cpu.products import convolve_by_products, convolve_unfolded
from .cpu.winograd import convolve_by_winograd
from .gpu.forms import laid_out_for

# With fewer channels the transforms cost more than the products save, on smaller maps the kernel's: from how many
# samples on both forms are quicker than the plain one, from how many channels NNPACK is, and from which ratio of
# products to transforms Winograd's form in products of matrices.
SAMPLES_FROM = 2048
NNPACK_FROM, WINOGRAD_FROM = 32, 50
# Products for each plane of a kernel pay from as many samples on, where torch copies more than it multiplies; one
# product with all that a sample sees for maps of up to as many.
PRODUCTS_FROM, UNFOLDED_TO = 1024, 16

Form = Callable[[Tensor, Tensor, Any], Tensor]
# The usual form, and NNPACK's for CPUs on which that is quicker.
FORMS_3X3: dict[str, Form] = {"Winograd": convolve_by_winograd, "NNPACK": convolve_by_nnpack}
FORMS_7X7X7: dict[str, Form] = {"Fourier": convolve_by_fourier, "NNPACK": convolve_by_nnpack}


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve [N, cin, (D,) H, W] with a kernel [cout, cin, ...], in the dtype of x.

    Zeros are put around, so that the size stays; the kernel's sizes are odd.
    """
    given, dtype = x.dtype, computed_in(x)
    x, weight = x.to(dtype), weight.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    form = quicker_form(x, weight)
    if form is convolve_by_nnpack:
        let_waiting_threads_sleep()
    if form is not None:
        return form(x, weight, bias).to(given)
    padding = [size // 2 for size in weight.shape[2:]]
    plain = F.conv2d if weight.dim() == 4 else F.conv3d
    return plain(laid_out_for(x, weight), weight, bias, padding=padding).to(given)


def computed_in(x: Tensor) -> torch.dtype:
    """Return the dtype in which a convolution of x computes; its result is rounded to that of x, as tensor cores do.

    CPUs take minutes for float16, and most of them longer for bfloat16 than for float32.
    """
    if x.device.type != "cpu" or x.dtype is torch.float32 or torch.compiler.is_compiling():
        return x.dtype
    if x.dtype is torch.bfloat16:
        ways: dict[str, Callable[..., Tensor]] = {"float32": _in_float32, "bfloat16": F.conv2d}
        return x.dtype if quickest("bfloat16", ways, _trial_bfloat16) is F.conv2d else torch.float32
    return torch.float32


def _in_float32(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return convolve(x.float(), weight.float(), bias.float()).to(x.dtype)


def _trial_bfloat16() -> tuple[Tensor, ...]:
    """Return the same as `_trial_3x3` in bfloat16."""
    return tuple(x.bfloat16() for x in _trial_3x3())


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
    large = samples >= SAMPLES_FROM
    by_nnpack = large and min(cin, deep * cout) >= NNPACK_FROM and nnpack_works()
    if kernel[-2:] == [3, 3]:
        if by_nnpack and quickest("3x3", FORMS_3X3, _trial_3x3) is convolve_by_nnpack:
            return convolve_by_nnpack
        enough = deep * cin * cout / (cin + cout) >= WINOGRAD_FROM
        return convolve_by_winograd if large and enough and height % 4 == width % 4 == 0 else None
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
