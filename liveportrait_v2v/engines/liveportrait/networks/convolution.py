"""Convolutions, each by the arithmetic that is quickest where it runs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution of [N, cin, (D,) H, W] with an odd kernel [cout, cin, ...], zero padded so that the size stays.

    It computes in the dtype of x.
    """
    weight = weight.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    padding = [size // 2 for size in weight.shape[2:]]
    return (F.conv2d if weight.dim() == 4 else F.conv3d)(x, weight, bias, padding=padding)
