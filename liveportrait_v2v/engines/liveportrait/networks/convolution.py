"""Convolutions, each by the arithmetic that is quickest where it runs. All forms differ in rounding alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16  # output samples along height and width of a tile that is convolved by Fourier transforms
# With fewer channels the transforms of Winograd's form cost more than its products save, on smaller maps the kernel's.
FEW, SMALL = 128, 4096
STRIP = 2_500_000  # numbers that a strip of Winograd's products may have, so that a core's caches hold most of them

# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016: F(4x4, 3x3), in both directions at once.
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


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padded: bool = False) -> Tensor:
    """Convolution of [N, cin, (D,) H, W] with a kernel [cout, cin, ...], in the dtype of x.

    Zeros are put around, so that the size stays; the kernel is odd then. Not where x is `padded` already.
    """
    # CPUs take minutes for float16: they round to it what they compute in float32, as tensor cores do.
    dtype = torch.float32 if x.dtype is torch.float16 and x.device.type == "cpu" else x.dtype
    weight = weight.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    on_cpu = dtype is torch.float32 and x.device.type == "cpu" and not torch.compiler.is_compiling()
    form = _form_on_cpu(x.shape, weight.shape) if on_cpu and not padded else None
    if form is not None:
        return form(x.to(dtype), weight, bias).to(x.dtype)
    padding = [0 if padded else size // 2 for size in weight.shape[2:]]
    plain = F.conv2d if weight.dim() == 4 else F.conv3d
    return plain(x.to(dtype), weight, bias, padding=padding).to(x.dtype)


def _form_on_cpu(x: torch.Size, weight: torch.Size) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """What is quicker than the plain form for these shapes, if anything is."""
    if weight[0] == 1 and len(weight) == 4:
        return convolve_to_one
    if min(weight[2:]) >= 7 and len(weight) == 5 and x[-2] % TILE == x[-1] % TILE == 0:
        return convolve_by_fourier
    wide = weight[2:-2].numel() * min(weight[:2]) >= FEW
    if weight[-2:] == (3, 3) and wide and x[2:].numel() >= SMALL and x[-2] % 4 == x[-1] % 4 == 0:
        return convolve_by_winograd
    return None


def convolve_to_one(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 2-D convolution with one channel out: a product gives what each tap sees of each sample, and a fold sums it up.

    Args:
        x: float32 [N, cin, H, W].
        weight: float32 [1, cin, kh, kw], sizes odd.
        bias: float32 [1].
    """
    size = weight.shape[2:]
    taps = weight.flip(2, 3).flatten(2)[0].t() @ x.flatten(2)
    return F.fold(taps, x.shape[2:], size, padding=(size[0] // 2, size[1] // 2)) + bias


def convolve_by_winograd(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution by Winograd's minimal filtering in height and width, sums over depth.

    It takes a quarter of the plain form's multiplications. The kernel is transformed at each call: kept, it would take
    four times the weight's memory.

    Args:
        x: float32 [N, cin, (D,) H, W], H and W multiples of 4.
        weight: float32 [cout, cin, (kd,) 3, 3], kd odd.
        bias: float32 [cout].
    """
    if x.dim() == 4:
        return convolve_by_winograd(x.unsqueeze(2), weight.unsqueeze(2), bias).squeeze(2)
    cout, cin, deep = weight.shape[:3]
    count, _, depth, height, width = x.shape
    down, across = height // 4, width // 4
    kernel = (TO_KERNEL @ weight.transpose(0, 2).reshape(-1, 9).t()).view(36, deep, cin, cout)
    x = F.pad(x, (1, 1, 1, 1, deep // 2, deep // 2))
    out = x.new_empty(count, cout, depth, down, 4, across, 4)
    rows = max(1, STRIP // (36 * max(cin, cout) * depth * across))
    for n in range(count):
        for top in range(0, down, rows):
            strip = x[n, :, :, 4 * top : 4 * (top + rows) + 2]
            tiles = strip.unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
            tiles = (TO_TILES @ tiles).view(36, cin, -1)
            plane = tiles.shape[2] // (depth + deep - 1)
            steps = [tiles[:, :, k * plane : (k + depth) * plane] for k in range(deep)]
            products = kernel[:, 0].mT @ steps[0]
            for k in range(1, deep):
                products.baddbmm_(kernel[:, k].mT, steps[k])
            samples = (FROM_TILES @ products.view(36, -1)).view(4, 4, cout, depth, -1, across)
            samples = samples.permute(2, 3, 4, 0, 5, 1)
            torch.add(samples, bias.view(-1, 1, 1, 1, 1, 1), out=out[n, :, :, top : top + rows])
    return out.view(count, cout, depth, height, width)


def convolve_by_fourier(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3-D convolution with a large kernel: products of Fourier transforms in height and width, sums over depth.

    Tiles of the padded volume overlap by the kernel's size, so that of each the samples that did not wrap around are
    kept (overlap-save). A twelfth of the plain form's multiplications for 7x7x7.

    Args:
        x: float32 [N, cin, D, H, W], H and W multiples of TILE.
        weight: float32 [cout, cin, kd, kh, kw], each size odd.
        bias: float32 [cout].
    """
    cout, cin, deep, high, wide = weight.shape
    count, _, depth, height, width = x.shape
    size = TILE + high - 1, TILE + wide - 1
    # A convolution in the networks' sense is a correlation: hence the conjugate.
    kernel = torch.fft.rfft2(weight, s=size).conj_physical_()
    frequencies = kernel.shape[-2] * kernel.shape[-1]
    kernel = kernel.permute(2, 3, 4, 0, 1).contiguous().view(deep, frequencies, cout, cin)
    x = F.pad(x, (wide // 2, wide // 2, high // 2, high // 2, deep // 2, deep // 2))
    out = x.new_empty(count, cout, depth, height, width)
    across = width // TILE
    for n in range(count):
        # A row of tiles at a time keeps the spectra small.
        for top in range(0, height, TILE):
            tiles = x[n, :, :, top : top + size[0]].unfold(3, size[1], TILE).transpose(2, 3).contiguous()
            spectrum = torch.fft.rfft2(tiles).flatten(3)  # [cin, D, across, frequencies]
            spectrum = spectrum.permute(3, 0, 1, 2).contiguous().view(frequencies, cin, -1)
            steps = [spectrum[:, :, k * across : (k + depth) * across] for k in range(deep)]
            total = kernel[0] @ steps[0]
            for k in range(1, deep):
                total += kernel[k] @ steps[k]
            total = total.view(size[0], -1, cout, depth, across).permute(2, 3, 4, 0, 1)
            rows = torch.fft.irfft2(total, s=size)[..., :TILE, :TILE]
            out[n, :, :, top : top + TILE] = rows.transpose(2, 3).reshape(cout, depth, TILE, width)
    return out.add_(bias.view(-1, 1, 1, 1))


def collapsed_kernels(weight: Tensor, scale: int) -> dict[str, Tensor]:
    """What a 3x3 convolution comes to on a map that was first enlarged by nearest neighbours, for each place in a cell.

    Of the three samples along an axis that an output sample sees, several show the same cell of the small map: their
    weights add up. At the first place in a cell the kernel sees the cell before and its own, at the last its own and
    the next, between them its own alone.

    Args:
        weight: [cout, cin, (kd,) 3, 3].
        scale: 1, 2 or 4.

    Returns:
        Row and column of the place in a cell, such as "01" (0 first, 1 last, 2 between) -> kernel
        [cout, cin, (kd,) 1 or 2, 1 or 2]. For a map that is not enlarged the kernel as it is, under "all".
    """
    if scale == 1:
        return {"all": weight}

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
    if scale == 1:
        return F.relu_(convolve(x, kernels["all"], bias))
    *_, height, width = x.shape
    padded = F.pad(x, (1, 1) * (x.dim() - 2))
    out = x.new_empty(len(x), len(bias), *x.shape[2:-2], height, scale, width, scale)
    # Of each place in a cell: what a kernel reads of the padded map, and the samples that it gives.
    places = [(slice(0, -1), slice(0, 1)), (slice(1, None), slice(-1, None)), (slice(1, -1), slice(1, -1))]
    for name, kernel in kernels.items():
        (above, rows), (beside, columns) = (places[int(place)] for place in name)
        part = F.relu_(convolve(padded[..., above, beside], kernel, bias, padded=True))
        out[..., rows, :, columns] = part[..., :, None, :, None]
    return out.flatten(-4, -3).flatten(-2)
