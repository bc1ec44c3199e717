"""Convolutions, each by the arithmetic that is quickest where it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padded: bool = False) -> Tensor:
    """Convolution of [N, cin, (D,) H, W] with a kernel [cout, cin, ...], in the dtype of x.

    Zeros are put around, so that the size stays; the kernel is odd then. Not where x is `padded` already.
    """
    # CPUs take minutes for float16: they round to it what they compute in float32, as tensor cores do.
    dtype = torch.float32 if x.dtype is torch.float16 and x.device.type == "cpu" else x.dtype
    weight = weight.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    padding = [0 if padded else size // 2 for size in weight.shape[2:]]
    plain = F.conv2d if weight.dim() == 4 else F.conv3d
    return plain(x.to(dtype), weight, bias, padding=padding).to(x.dtype)
