"""Convolutions with 3x3 (or n x 3x3) kernels by a quarter of the multiplications, in float32 on the CPU.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016: F(4x4, 3x3). Tiles of 6x6 samples that
overlap by two are transformed, multiplied by the transformed kernel, and transformed back to 4x4 samples of the result.
The transforms are products with constant matrices, for both directions at once. The kernel is transformed at each call:
kept, it would take four times the weight's memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .scratch import scratch

# What is computed at a time, so that it stays in the cores' caches: tiles of a strip, and channels that come out.
TILES, BLOCK = 256, 256

_TO_TILES = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_TO_KERNEL = torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_FROM_TILES = torch.tensor(
    [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)
TO_TILES, TO_KERNEL, FROM_TILES = (torch.kron(m, m) for m in (_TO_TILES, _TO_KERNEL, _FROM_TILES))

# Which samples: of which picture, which channels, planes and rows of tiles.
Place = tuple[int, slice, slice, slice]


def convolve_by_winograd(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding.

    Args:
        x: float32 [N, cin, (D,) H, W], H and W multiples of 4.
        weight: float32 [cout, cin, (kd,) 3, 3], kd odd.
        bias: float32 [cout].
    """
    out = x.new_empty(len(x), len(weight), *x.shape[2:])
    cells = as_cells(out)
    bias = bias.view(-1, 1, 1, 1, 1, 1)

    def keep(place: Place, samples: Tensor) -> None:
        torch.add(samples, bias[place[1]], out=cells[place])

    winograd_blocks(x, weight, keep)
    return out


def as_cells(x: Tensor, size: int = 4) -> Tensor:
    """View a contiguous [N, C, (D,) H, W] as [N, C, D, H / size, size, W / size, size]."""
    height, width = x.shape[-2:]
    return x.view(*x.shape[:2], -1, height // size, size, width // size, size)


def winograd_blocks(x: Tensor, weight: Tensor, finish: Callable[[Place, Tensor], None]) -> None:
    """Compute a convolution block by block, and hand each over while it is in the caches.

    Args:
        x, weight: as `convolve_by_winograd` takes them; there is no bias.
        finish: called with a place in `as_cells` and its samples [channels, D, rows, 4, W / 4, 4], of at most BLOCK
            channels, which it may write into but not keep. They lie in memory as [channels, 4, 4, D, rows, W / 4].
    """
    if x.dim() == 4:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    cout, cin, deep = weight.shape[:3]
    count, _, depth, height, width = x.shape
    down, across, planes = height // 4, width // 4, depth + deep - 1
    rows = min(down, max(1, TILES // (depth * across)))
    block = min(BLOCK, cout)
    kernel, strip, gathered, tiles, samples = scratch(
        36 * deep * cout * cin,
        cin * planes * (4 * rows + 2) * (width + 2),
        36 * max(cin * planes, block * depth) * rows * across,
        36 * cin * planes * rows * across,
        16 * block * depth * rows * across,
    )
    products = gathered  # the gathered tiles are done with by then
    kernel = kernel.view(36, -1)
    torch.mm(TO_KERNEL, weight.permute(2, 0, 1, 3, 4).reshape(-1, 9).t(), out=kernel)
    kernel = kernel.view(36, deep, cout, cin)
    for n in range(count):
        for top in range(0, down, rows):
            here = slice(top, min(down, top + rows))
            plane = (here.stop - top) * across
            seen = _tiles(x[n], here, deep // 2, strip, gathered, tiles)
            for start in range(0, cout, block):
                channels = slice(start, min(cout, start + block))
                size = channels.stop - start
                product = _shaped(products, 36, size, depth * plane)
                torch.bmm(kernel[:, 0, channels], seen[:, :, : depth * plane], out=product)
                for k in range(1, deep):
                    step = seen[:, :, k * plane : (k + depth) * plane]
                    product.baddbmm_(kernel[:, k, channels], step)
                found = _shaped(samples, size, 16, depth * plane)
                torch.bmm(FROM_TILES.expand(size, -1, -1), product.transpose(0, 1), out=found)
                found = found.view(size, 4, 4, depth, -1, across).permute(0, 3, 4, 1, 5, 2)
                finish((n, channels, slice(None), here), found)


def _tiles(x: Tensor, rows: slice, around: int, strip: Tensor, gathered: Tensor, tiles: Tensor) -> Tensor:
    """Transform some rows of tiles of x [cin, D, H, W], with `around` planes of zeros on both sides.

    The last three are working memory; the result, [36, cin, planes * rows * W / 4], is in `tiles`.
    """
    cin, depth, height, width = x.shape
    across, planes, count = width // 4, depth + 2 * around, rows.stop - rows.start
    strip = _shaped(strip, cin, planes, 4 * count + 2, width + 2)
    start, stop = max(0, 4 * rows.start - 1), min(height, 4 * rows.stop + 1)
    first, last = start - 4 * rows.start + 1, stop - 4 * rows.start + 1
    for border in (strip[:, :around], strip[:, around + depth :], strip[:, :, :first], strip[:, :, last:]):
        border.zero_()
    strip[..., 0].zero_(), strip[..., -1].zero_()
    strip[:, around : around + depth, first:last, 1:-1].copy_(x[:, :, start:stop])
    gathered = _shaped(gathered, cin, 6, 6, planes, count, across)
    gathered.copy_(strip.unfold(2, 6, 4).unfold(3, 6, 4).permute(0, 4, 5, 1, 2, 3))
    tiles = _shaped(tiles, cin, 36, planes * count * across)
    return torch.bmm(TO_TILES.expand(cin, -1, -1), gathered.view(tiles.shape), out=tiles).transpose(0, 1)


def _shaped(memory: Tensor, *shape: int) -> Tensor:
    return memory[: math.prod(shape)].view(shape)
