"""3x3 convolutions of a map enlarged by nearest neighbours, without enlarging it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .convolution import convolve


def collapsed_kernels(weight: Tensor, scale: int) -> dict[str, Tensor]:
    """What a 3x3 convolution comes to on a map that was first enlarged by nearest neighbours, for each place in a cell.

    Of the three samples along an axis that an output sample sees, several show the same cell of the small map: their
    weights add up. At the first place in a cell the kernel sees the cell before and its own, at the last its own and
    the next, between them its own alone.

    Args:
        weight: [cout, cin, (kd,) 3, 3].
        scale: 2 or 4.

    Returns:
        Row and column of the place in a cell, such as "01" (0 first, 1 last, 2 between) -> kernel
        [cout, cin, (kd,) 1 or 2, 1 or 2].
    """

    def along(weight: Tensor, place: int, dim: int) -> Tensor:
        a, b, c = weight.split(1, dim)
        return (torch.cat((a, b + c), dim), torch.cat((a + b, c), dim), a + b + c)[place]

    places = range(2 if scale == 2 else 3)
    return {f"{i}{j}": along(along(weight, i, -2), j, -1) for i in places for j in places}


def convolve_enlarged(x: Tensor, kernels: Mapping[str, Tensor], bias: Tensor, scale: int) -> Tensor:
    """ReLU of the convolution of x enlarged by nearest neighbours in height and width, without enlarging it.

    Args:
        x: [N, cin, (D,) H, W].
        kernels: by `collapsed_kernels`.

    Returns:
        [N, cout, (D,) scale * H, scale * W].
    """
    *_, height, width = x.shape
    padded = F.pad(x, (1, 1) * (x.dim() - 2))
    out = x.new_empty(len(x), len(bias), *x.shape[2:-2], height, scale, width * scale)
    seen = slice(0, -1), slice(1, None), slice(1, -1)  # what the kernels of a place read of the padded map
    places = 0, *[2] * (scale - 2), 1  # along an axis of a cell
    kinds = sorted(set(places))
    for i in kinds:
        parts = [
            F.relu_(convolve(padded[..., seen[i], seen[j]], kernels[f"{i}{j}"], bias, padded=True))
            for j in kinds
        ]
        row = torch.stack([parts[j] for j in places], -1).flatten(-2)
        for k, place in enumerate(places):
            if place == i:
                out[..., k, :] = row
    return out.flatten(-3, -2)
