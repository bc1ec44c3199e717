"""3x3 convolutions of a map enlarged by nearest neighbours, without enlarging it.

Each sample of the small map becomes a cell of `scale` by `scale` samples. Along an axis, a kernel a, b, c sees one cell
alone, where it is inside of it: (a + b + c) x[i]. At the cell's first sample it also sees the cell before, at its last
one the cell after, and what that adds are products with steps of the small map: a (x[i-1] - x[i]) and
c (x[i+1] - x[i]). So three products per axis and cell do, nine in two dimensions, for four samples or sixteen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import convolve


def enlarged_kernels(weight: Tensor) -> dict[str, Tensor]:
    """Return the kernels of a 3x3 convolution of a map that was first enlarged.

    Args:
        weight: [cout, cin, (kd,) 3, 3].

    Returns:
        Kernels of one sample, [n cout, cin, (kd,) 1, 1]: "00" for the map itself, "10" for its steps from row to row,
        "01" from column to column, "11" for the steps of its steps. For steps there are two kernels, of the step
        before a cell and of the one after it; for steps of steps two of these pairs.
    """

    def along(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        a, b, c = weight.split(1, dim)
        return a + b + c, torch.cat((-a, c))

    return {
        f"{row}{column}": kernel
        for row, rows in enumerate(along(weight, -2))
        for column, kernel in enumerate(along(rows, -1))
    }


def convolve_enlarged(
    x: Tensor,
    kernels: Mapping[str, Tensor] | nn.ParameterDict,
    bias: Tensor | None,
    scale: int,
    rows: slice = slice(None),
) -> Tensor:
    """ReLU of the convolution of x enlarged by nearest neighbours in height and width, with zeros around.

    Args:
        x: [N, cin, (D,) H, W].
        kernels: by `enlarged_kernels`.
        scale: 2 or more.
        rows: which rows of x are wanted; all by default.

    Returns:
        [N, cout, (D,) scale * H, scale * W], H being the number of rows wanted.
    """
    first, last, _ = rows.indices(x.shape[-2])
    seen = F.pad(x, (0, 0, 1, 1))[..., first : last + 2, :]
    of = {"00": seen[..., 1:-1, :], "10": seen.diff(dim=-2)}
    of |= {"01": F.pad(of["00"], (1, 1)).diff(), "11": F.pad(of["10"], (1, 1)).diff()}
    found = {name: convolve(of[name], kernels[name], bias if name == "00" else None) for name in of}
    inside = found["00"]
    beside, above, corner_sides = (
        _before_and_after(found[name], dim) for name, dim in (("01", -1), ("10", -2), ("11", -1))
    )
    corners = [_before_and_after(side, -2) for side in corner_sides]
    out = x.new_empty(*inside.shape[:-1], scale, inside.shape[-1], scale)
    for row, rows_of_cells in enumerate(_places(scale)):
        middle = inside + above[row] if row < 2 else inside
        for column, columns_of_cells in enumerate(_places(scale)):
            if column < 2:
                side = beside[column] + corners[column][row] if row < 2 else beside[column]
                samples = middle + side
            else:
                samples = middle
            out[..., rows_of_cells, :, columns_of_cells] = samples[..., None, :, None]
    return out.flatten(-4, -3).flatten(-2).relu_()


def _places(scale: int) -> tuple[slice, ...]:
    """Return which samples of a cell are its first, its last, and those between, if there are any."""
    return (slice(0, 1), slice(-1, None), slice(1, -1))[: min(scale, 3)]


def _before_and_after(found: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the steps before each cell and after it, of two kernels' results along an axis of steps."""
    before, after = found.chunk(2, 1)
    count = found.shape[dim] - 1
    return before.narrow(dim, 0, count), after.narrow(dim, 1, count)


def tap_kernel(weights: Sequence[Tensor]) -> Tensor:
    """Return 3x3 kernels, each [cout, cin, 3, 3], as one of single samples, [n 9 cout, cin, 1, 1]: tap after tap."""
    return torch.cat([weight.permute(2, 3, 0, 1).flatten(0, 2) for weight in weights])[:, :, None, None]


def tap_bias(biases: Sequence[Tensor]) -> Tensor:
    """Return biases, each [cout], for a convolution with a `tap_kernel`: of the tap in the middle, zeros elsewhere."""
    return torch.cat([F.pad(bias[None], (0, 0, 4, 4)).flatten() for bias in biases])
