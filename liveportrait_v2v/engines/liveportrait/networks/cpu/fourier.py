"""3-D convolutions with a 7x7 (or n x 7x7) kernel by Fourier transforms in height and width, in float32 on the CPU.

Tiles overlap by the kernel's size, so that of each the samples that did not wrap around are kept (overlap-save). They
are small, so that their transforms are products with constant matrices: quicker than calls of an FFT, and what comes
out lies in memory as the products of spectra want it. In width, where samples are real, the frequencies from 0 to half
of the samples are kept; in height all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .scratch import scratch

TILE = 16  # output samples along height and width of a tile
KERNEL = 7
SEEN = TILE + KERNEL - 1  # samples that a tile sees, and frequencies in height
HALF = SEEN // 2 + 1  # frequencies in width
TILES = 128  # of a strip


def _parts(matrix: Tensor) -> Tensor:
    """Return a complex matrix [M, N] as a real one [M, 2, 2, N]: on real and imaginary parts, for such parts."""
    real, imaginary = matrix.real, matrix.imag
    return torch.stack((torch.stack((real, -imaginary), 1), torch.stack((imaginary, real), 1)), 1)


_k = torch.arange(SEEN, dtype=torch.float64)
_wave = torch.polar(torch.ones(SEEN, SEEN, dtype=torch.float64), -2 * math.pi / SEEN * _k[:, None] * _k)
# In width, the frequencies that are left out are the conjugates of those kept, of all but the first and the last.
_weights = torch.tensor([1.0, *[2.0] * (HALF - 2), 1.0], dtype=torch.float64)
_back = _wave.conj()[:TILE] / SEEN
# The transforms and their inverses. Rows and columns, as sizes: [HALF * 2, SEEN], [SEEN * 2, 2 * SEEN],
# [2 * TILE, 2 * SEEN] and [TILE, HALF * 2]; the 2 are real and imaginary parts.
TO_WIDE = _parts(_wave[:HALF])[:, :, 0].flatten(0, 1).float()
TO_HIGH = _parts(_wave).flatten(0, 1).flatten(1).float()
FROM_HIGH = _parts(_back).transpose(0, 1).flatten(0, 1).flatten(1).float()
FROM_WIDE = _parts(_back[:, :HALF] * _weights)[:, 0].transpose(1, 2).flatten(1).float()


def convolve_by_fourier(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding: products of spectra, sums over depth. A twelfth of the plain form's multiplications.

    Args:
        x: float32 [N, cin, D, H, W], H and W multiples of TILE.
        weight: float32 [cout, cin, kd, 7, 7], kd odd.
        bias: float32 [cout].
    """
    cout, cin, deep = weight.shape[:3]
    count, _, depth, height, width = x.shape
    down, across = height // TILE, width // TILE
    rows = min(down, max(1, TILES // (depth * across)))
    samples = depth * rows * across
    spectrum = 2 * HALF * SEEN
    around = KERNEL // 2
    wide = width + 2 * around
    kernel, strip, first, second = scratch(
        spectrum * deep * cout * cin,
        cin * depth * (TILE * rows + 2 * around) * wide,
        max(spectrum * cin * samples, 2 * HALF * KERNEL * deep * cout * cin),
        spectrum * cin * samples,
    )
    kernel = _kernel_spectrum(weight, kernel, first)
    out = x.new_empty(count, cout, depth, down, TILE, across, TILE)
    for n in range(count):
        for top in range(0, down, rows):
            here = slice(top, min(down, top + rows))
            seen = _spectrum(_strip(x[n], here, strip), first, second)
            found = _inverse([_over_depth(k, s, cout, depth) for k, s in zip(kernel, seen, strict=True)])
            found = found.view(TILE, TILE, cout, -1, across, depth).permute(2, 5, 3, 1, 4, 0)
            torch.add(found, bias.view(-1, 1, 1, 1, 1, 1), out=out[n, :, :, here])
    return out.view(count, cout, depth, height, width)


def _kernel_spectrum(weight: Tensor, out: Tensor, memory: Tensor) -> Tensor:
    """Transform a kernel [cout, cin, kd, 7, 7]: [HALF, SEEN, 2, kd * cout, cin], in `out`."""
    cout, cin, deep = weight.shape[:3]
    samples = weight.permute(4, 3, 2, 0, 1).flatten(1)
    wide = memory[: 2 * HALF * samples.shape[1]].view(2 * HALF, -1)
    torch.mm(TO_WIDE[:, :KERNEL], samples, out=wide)
    to_high = TO_HIGH.view(-1, 2, SEEN)[..., :KERNEL].flatten(1)
    out = out.view(HALF, 2 * SEEN, -1)
    torch.bmm(to_high.expand(HALF, -1, -1), wide.view(HALF, 2 * KERNEL, -1), out=out)
    return out.view(HALF, SEEN, 2, deep * cout, cin)


def _strip(x: Tensor, rows: slice, memory: Tensor) -> Tensor:
    """Return some rows of tiles of x [cin, D, H, W] with their margins, zeros outside of x: [cin, rows, W + 6, D].

    It is in `memory`, planes last: what lies there side by side stays so to the end.
    """
    around = KERNEL // 2
    cin, depth, height, width = x.shape
    top, bottom = TILE * rows.start - around, TILE * rows.stop + around
    strip = memory[: cin * (bottom - top) * (width + 2 * around) * depth].view(cin, bottom - top, -1, depth)
    start, stop = max(0, top), min(height, bottom)
    inside = slice(start - top, stop - top)
    for border in (
        strip[:, : inside.start],
        strip[:, inside.stop :],
        strip[:, :, :around],
        strip[:, :, -around:],
    ):
        border.zero_()
    strip[:, inside, around:-around].copy_(x[:, :, start:stop].permute(0, 2, 3, 1))
    return strip


def _spectrum(strip: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Transform the tiles of a strip [cin, H, W, D] with its margins: [HALF, SEEN, 2, cin, tiles * D], in `first`."""
    tiles = strip.unfold(1, SEEN, TILE).unfold(2, SEEN, TILE).permute(5, 4, 0, 1, 2, 3)
    count = tiles[0, 0].numel()
    gathered = first[: tiles.numel()].view(tiles.shape)
    gathered.copy_(tiles)
    wide = second[: 2 * HALF * SEEN * count].view(2 * HALF, -1)
    torch.mm(TO_WIDE, gathered.view(SEEN, -1), out=wide)
    high = first[: wide.numel()].view(HALF, 2 * SEEN, count)
    torch.bmm(TO_HIGH.expand(HALF, -1, -1), wide.view(HALF, 2 * SEEN, count), out=high)
    return high.view(HALF, SEEN, 2, len(strip), -1)


def _over_depth(kernel: Tensor, seen: Tensor, cout: int, depth: int) -> Tensor:
    """Multiply spectra with the conjugates of a kernel's, as networks correlate, and sum them up over its planes.

    Args:
        kernel: [SEEN, 2, kd * cout, cin].
        seen: [SEEN, 2, cin, tiles * D].

    Returns:
        [2 * SEEN, cout * tiles * D].
    """
    found = seen.new_empty(2, SEEN, kernel.shape[2], seen.shape[3])
    real, imaginary = kernel.unbind(1)
    torch.bmm(real, seen[:, 0], out=found[0]).baddbmm_(imaginary, seen[:, 1])
    torch.bmm(real, seen[:, 1], out=found[1]).baddbmm_(imaginary, seen[:, 0], alpha=-1)
    planes = found.view(2 * SEEN, -1, cout, found.shape[3] // depth, depth)
    middle = planes.shape[1] // 2
    total = planes[:, middle].clone()
    for k in range(planes.shape[1]):
        shift = k - middle
        if shift and abs(shift) < depth:
            start, stop = max(0, -shift), min(depth, depth - shift)
            total[..., start:stop] += planes[:, k, ..., start + shift : stop + shift]
    return total.view(2 * SEEN, -1)


def _inverse(spectra: list[Tensor]) -> Tensor:
    """Transform spectra back, [2 * SEEN, M] for each frequency in width: [TILE in width, TILE in height, M]."""
    wide = torch.stack([FROM_HIGH @ spectrum for spectrum in spectra])
    return (FROM_WIDE @ wide.view(2 * HALF, -1)).view(TILE, TILE, -1)
