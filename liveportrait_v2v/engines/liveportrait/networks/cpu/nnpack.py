"""Convolutions by NNPACK, in float32 on the CPU.

NNPACK has Winograd's F(6x6, 3x3), a fifth of the plain form's multiplications, and tiled Fourier transforms for larger
kernels, with the transforms in machine code. It comes with torch's builds for Linux and macOS, though torch.nn hardly
ever calls it. Its threads are as many as torch has at the first call; memory to work in is kept until the calling
thread ends.
"""

from __future__ import annotations

import threading
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Values that go in and come out at a time where a volume is convolved: more leave the caches, with fewer the kernel is
# transformed too often.
AT_ONCE = 5_000_000
# Private: a torch to come may lack it.
_convolution = getattr(torch, "_nnpack_spatial_convolution", None)


@cache
def nnpack_works() -> bool:
    """Whether this torch has NNPACK, and this processor what NNPACK needs."""
    return _convolution is not None and torch.backends.nnpack.is_available()


def convolve_by_nnpack(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding.

    Args:
        x: float32 [N, cin, (D,) H, W].
        weight: float32 [cout, cin, (kd,) kh, kw], sizes odd and kh = kw.
        bias: float32 [cout]; in two dimensions there need be none.
    """
    # It takes several pictures at once in a way that is three times slower.
    one = _picture if weight.dim() == 4 else _volume
    found = [one(part, weight, bias) for part in x.split(1)]
    return found[0] if len(found) == 1 else torch.cat(found)


def _picture(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _convolution is not None  # nnpack_works() was asked before
    return _convolution(x, weight, bias, padding=weight.shape[-1] // 2)


def _volume(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve volumes as one tall picture of their planes; the kernel's planes are output channels."""
    cout, deep, around = len(weight), weight.shape[2], weight.shape[-1] // 2
    depth, height, width = x.shape[2:]
    flat = weight.permute(2, 0, 1, 3, 4).flatten(0, 1)
    total = bias.view(-1, 1, 1, 1).repeat(1, depth, height, width)
    count = max(1, AT_ONCE // ((x.shape[1] + len(flat)) * height * width))
    for start in range(0, depth, count):
        planes = F.pad(x[0, :, start : start + count], (0, 0, 0, around))
        found = _picture(planes.flatten(1, 2)[None], flat, None)
        found = found.view(deep, cout, -1, height + around, width)[..., :height, :]
        for k, part in enumerate(found):
            # Output plane of the first input plane under this plane of the kernel.
            shift = start + deep // 2 - k
            first, last = max(0, shift), min(depth, shift + part.shape[1])
            if first < last:
                total[:, first:last] += part[:, first - shift : last - shift]
    return total[None]


@cache
def let_waiting_threads_sleep() -> None:
    """Let torch's own threads leave their cores to NNPACK's while they wait, from now on.

    It spares a fifth of the time where NNPACK convolves, and costs as much where it does not, for waking them up.

    GNU's OpenMP, in which torch computes, lets a waiting thread spin for milliseconds, but a thousandth of that where
    it has more threads than there are cores (its manual, GOMP_SPINCOUNT). So a second team of them is made, which
    lives as long as the thread that asked for it, and has nothing to do.
    """

    def stay() -> None:
        torch.zeros(1 << 20).add_(1)
        threading.Event().wait()

    threading.Thread(target=stay, name="second OpenMP team", daemon=True).start()
