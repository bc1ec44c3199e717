"""3-D convolutions with a large kernel by Fourier transforms, in float32 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 16  # output samples along height and width of a tile


def convolve_by_fourier(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding: products of Fourier transforms in height and width, sums over depth.

    Tiles overlap by the kernel's size, so that of each the samples that did not wrap around are kept (overlap-save). A
    twelfth of the plain form's multiplications for 7x7x7.

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
    across = width // TILE
    out = x.new_empty(count, cout, depth, height, across, TILE)
    strip = x.new_zeros(cin, depth, size[0], width + wide - 1)
    for n in range(count):
        # A row of tiles at a time keeps the spectra small.
        for top in range(0, height, TILE):
            start, stop = max(0, top - high // 2), min(height, top - high // 2 + size[0])
            rows = slice(start - top + high // 2, stop - top + high // 2)
            strip[:, :, : rows.start].zero_(), strip[:, :, rows.stop :].zero_()
            strip[:, :, rows, wide // 2 : wide // 2 + width] = x[n, :, :, start:stop]
            spectrum = torch.fft.rfft2(strip.unfold(3, size[1], TILE).transpose(2, 3)).flatten(3)
            spectrum = spectrum.permute(3, 0, 1, 2).contiguous().view(frequencies, cin, -1)
            total = _over_depth(kernel, spectrum, across).view(size[0], -1, cout, depth, across)
            samples = torch.fft.irfft2(total.permute(2, 3, 4, 0, 1), s=size)[..., :TILE, :TILE]
            torch.add(samples.transpose(2, 3), bias.view(-1, 1, 1, 1, 1), out=out[n, :, :, top : top + TILE])
    return out.view(count, cout, depth, height, width)


def _over_depth(kernel: Tensor, planes: Tensor, size: int) -> Tensor:
    """Products with each plane of a kernel [kd, F, cout, cin], added up where they belong.

    Args:
        planes: [F, cin, D * size].

    Returns:
        [F, cout, D * size].
    """
    middle, length = len(kernel) // 2, planes.shape[2]
    total = kernel[middle] @ planes
    for k in range(len(kernel)):
        shift = (k - middle) * size
        if shift and abs(shift) < length:
            start, stop = max(0, -shift), min(length, length - shift)
            total[:, :, start:stop] += kernel[k] @ planes[:, :, start + shift : stop + shift]
    return total
