"""Convolutions that are products of matrices, in float32 on the CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve_by_products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with a kernel of one sample in height and width: a product for each of its planes.

    torch first copies what each of the planes sees.

    Args:
        x: float32 [N, cin, (D,) H, W].
        weight: float32 [cout, cin, (kd,) 1, 1], kd odd.
        bias: float32 [cout] or None.
    """
    planes = weight.flatten(2).unbind(2)
    middle, plane = len(planes) // 2, x.shape[-2] * x.shape[-1]
    seen = x.flatten(2)
    samples = seen.shape[2]
    out = x.new_empty(len(x), len(weight), samples)
    for n in range(len(x)):
        if bias is None:
            torch.mm(planes[middle], seen[n], out=out[n])
        else:
            torch.addmm(bias.unsqueeze(1), planes[middle], seen[n], out=out[n])
        for k, kernel in enumerate(planes):
            step = (k - middle) * plane
            if step and abs(step) < samples:
                start, stop = max(0, -step), min(samples, samples - step)
                out[n, :, start:stop].addmm_(kernel, seen[n, :, start + step : stop + step])
    return out.view(len(x), len(weight), *x.shape[2:])


def convolve_unfolded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve small maps with zero padding: one product with all that each sample sees.

    torch rearranges the kernel, which is larger than the maps, at each call.

    Args:
        x: float32 [N, cin, D, H, W].
        weight: float32 [cout, cin, kd, kh, kw], sizes odd.
        bias: float32 [cout].
    """
    kernel = weight.shape[2:]
    seen = F.pad(x, [size // 2 for size in reversed(kernel) for _ in range(2)])
    for dim, size in enumerate(kernel, 2):
        seen = seen.unfold(dim, size, 1)
    columns = seen.permute(0, 1, 5, 6, 7, 2, 3, 4).reshape(len(x), -1, x[0, 0].numel())
    out = torch.baddbmm(bias.unsqueeze(1), weight.flatten(1).expand(len(x), -1, -1), columns)
    return out.view(len(x), len(weight), *x.shape[2:])
