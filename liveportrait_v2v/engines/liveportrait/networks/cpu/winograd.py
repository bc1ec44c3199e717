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
import torch.nn.functional as F
from torch import Tensor

from .calibration import quickest
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
# Of the 36 products, the one that all samples of a tile have in them once: a bias is added there.
CONSTANT = 7

# Which samples: of which picture, which channels, planes and rows of tiles.
Place = tuple[int, slice, slice, slice]


def convolve_by_winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with zero padding.

    Args:
        x: float32 [N, cin, (D,) H, W], H and W multiples of 4.
        weight: float32 [cout, cin, (kd,) 3, 3], kd odd.
        bias: float32 [cout], or None.
    """
    out = x.new_empty(len(x), len(weight), *x.shape[2:])
    cells = as_cells(out)

    def keep(place: Place, samples: Tensor) -> None:
        cells[place].copy_(samples)

    winograd_blocks(x, weight, bias, keep)
    return out


def as_cells(x: Tensor, size: int = 4) -> Tensor:
    """View a contiguous [N, C, (D,) H, W] as [N, C, D, H / size, size, W / size, size]."""
    height, width = x.shape[-2:]
    return x.view(*x.shape[:2], -1, height // size, size, width // size, size)


def winograd_blocks(
    x: Tensor, weight: Tensor, bias: Tensor | None, finish: Callable[[Place, Tensor], None]
) -> None:
    """Compute a convolution block by block, and hand each over while it is in the caches.

    Args:
        x, weight, bias: as `convolve_by_winograd` takes them.
        finish: called with a place in `as_cells` and its samples [channels, D, rows, 4, W / 4, 4], of at most BLOCK
            channels, which it may write into but not keep. They lie in memory as [4, 4, channels, D, rows, W / 4].
    """
    if x.dim() == 4:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    cout, cin, deep = weight.shape[:3]
    count, _, depth, height, width = x.shape
    down, across, planes = height // 4, width // 4, depth + deep - 1
    rows = min(down, max(1, TILES // (depth * across)))
    blocks = [slice(start, min(cout, start + BLOCK)) for start in range(0, cout, BLOCK)]
    most = blocks[0].stop
    kernel, strip, gathered, tiles, samples = scratch(
        36 * deep * cout * cin,
        cin * planes * (4 * rows + 2) * (width + 2),
        36 * max(cin * planes, most * depth) * rows * across,
        36 * cin * planes * rows * across,
        16 * most * depth * rows * across,
    )
    products = gathered  # the gathered tiles are done with by then
    kernels = _kernels(weight, blocks, kernel)
    multiply = _by_blas
    if deep == 1 and cin % 16 == cout % 16 == 0:
        multiply = quickest("products", MULTIPLY, _trial)
    for n in range(count):
        for top in range(0, down, rows):
            here = slice(top, min(down, top + rows))
            plane = (here.stop - top) * across
            seen = _tiles(x[n], here, deep // 2, strip, gathered, tiles)
            for channels, planes_of in zip(blocks, kernels, strict=True):
                size = channels.stop - channels.start
                product = _shaped(products, 36, size, depth * plane)
                product = multiply(planes_of[0], seen[:, :, : depth * plane], product)
                for k in range(1, deep):
                    product.baddbmm_(planes_of[k], seen[:, :, k * plane : (k + depth) * plane])
                if bias is not None:
                    product[CONSTANT].add_(bias[channels, None])
                found = _shaped(samples, 16, size * depth * plane)
                torch.mm(FROM_TILES, product.view(36, -1), out=found)
                found = found.view(4, 4, size, depth, -1, across).permute(2, 3, 4, 0, 5, 1)
                finish((n, channels, slice(None), here), found)


def _kernels(weight: Tensor, blocks: list[slice], memory: Tensor) -> list[tuple[Tensor, ...]]:
    """Transform a kernel [cout, cin, kd, 3, 3]: for each block, of each plane [36, channels, cin], in `memory`."""
    cin, deep = weight.shape[1:3]
    kernels = []
    for channels in blocks:
        part = _shaped(
            memory[36 * deep * cin * channels.start :], 36, channels.stop - channels.start, deep, cin
        )
        torch.mm(TO_KERNEL, weight[channels].transpose(1, 2).reshape(-1, 9).t(), out=part.view(36, -1))
        kernels.append(part.unbind(2))
    return kernels


def _by_blas(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """[36, M, K] @ [36, K, N], in `out`."""
    return torch.bmm(a, b, out=out)


def _by_onednn(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """[36, M, K] @ [36, K, N] as 36 groups of a convolution, for which oneDNN uses AVX-512 on all CPUs that have it."""
    weight = a.reshape(-1, a.shape[2], 1, 1)
    return F.conv2d(b.reshape(1, -1, 1, b.shape[2]), weight, groups=36).view(out.shape)


MULTIPLY = {"BLAS": _by_blas, "oneDNN": _by_onednn}


def _trial() -> tuple[Tensor, Tensor, Tensor]:
    """Return products of the usual size."""
    return torch.ones(36, 256, 256), torch.ones(36, 256, 256), torch.empty(36, 256, 256)


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
    gathered = _shaped(gathered, 6, 6, cin, planes, count, across)
    gathered.copy_(strip.unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 0, 1, 2, 3))
    tiles = _shaped(tiles, 36, cin * planes * count * across)
    return torch.mm(TO_TILES, gathered.view(36, -1), out=tiles).view(36, cin, -1)


def _shaped(memory: Tensor, *shape: int) -> Tensor:
    return memory[: math.prod(shape)].view(shape)
