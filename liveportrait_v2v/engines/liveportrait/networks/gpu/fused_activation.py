"""What follows convolutions, in one pass over memory: bias, ReLU, and means of 2x2, or the sum of a residual block.

Triton compiles the kernels. Maps are in channels-last layout, in two or three dimensions; all arithmetic is in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .forms import channels_last

BLOCK_PIXELS, BLOCK_CHANNELS = 32, 32
"""Samples and channels that a program takes at a time."""


@triton.jit
def _activate(
    maps, bias, out, slope, height, width, channels,
    POOL: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Add biases to [planes, POOL height, POOL width, channels], apply a LeakyReLU, and take means of POOL by POOL."""
    pixel = (tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P))[:, None]
    channel = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    there = (pixel < height * width) & (channel < channels)
    pixels = tl.program_id(2).to(tl.int64) * height * width
    more = tl.load(bias + channel, channel < channels, 0.0).to(tl.float32)
    at = pixels * (POOL * POOL) + (pixel // width) * POOL * (POOL * width) + (pixel % width) * POOL
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for row in tl.static_range(POOL):
        for column in tl.static_range(POOL):
            place = (at + row * (POOL * width) + column) * channels + channel
            value = tl.load(maps + place, there, 0.0).to(tl.float32) + more
            total += tl.where(value > 0, value, value * slope)
    total = total / (POOL * POOL)
    tl.store(out + (pixels + pixel) * channels + channel, total.to(out.dtype.element_ty), there)


@triton.jit
def _add_and_norm(
    maps, bias, sums, scale, shift, out, samples, channels, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr
):  # fmt: skip
    """Add maps and biases to the sums [samples, channels] in place, and give what the next convolution reads."""
    sample = (tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P))[:, None].to(tl.int64)
    channel = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    known = channel < channels
    there = (sample < samples) & known
    place = sample * channels + channel
    total = tl.load(sums + place, there, 0.0) + tl.load(maps + place, there, 0.0).to(tl.float32)
    total += tl.load(bias + channel, known, 0.0).to(tl.float32)
    tl.store(sums + place, total, there)
    value = total * tl.load(scale + channel, known, 0.0) + tl.load(shift + channel, known, 0.0)
    tl.store(out + place, tl.maximum(value, 0.0).to(out.dtype.element_ty), there)


def activate(maps: Tensor, bias: Tensor, slope: float = 0.0, pool: int = 1) -> Tensor:
    """Return LeakyReLU(maps + bias), and of that the means of each `pool` by `pool`.

    Args:
        maps: [N, C, (D,) H, W], channels last; written over where nothing is averaged.
        bias: [C].
        pool: 1 for none, or 2; H and W are even then.
    """
    maps = maps.contiguous(memory_format=channels_last(maps))
    channels, (height, width) = maps.shape[1], (size // pool for size in maps.shape[-2:])
    out = maps
    if pool > 1:
        out = torch.empty_like(maps[..., :height, :width], memory_format=channels_last(maps))
    planes = maps.numel() // (channels * height * width * pool * pool)
    grid = triton.cdiv(height * width, BLOCK_PIXELS), triton.cdiv(channels, BLOCK_CHANNELS), planes
    with torch.cuda.device_of(maps):
        _activate[grid](
            maps, bias, out, slope, height, width, channels,
            POOL=pool, BLOCK_P=BLOCK_PIXELS, BLOCK_C=BLOCK_CHANNELS,
        )  # fmt: skip
    return out


def add_and_norm(maps: Tensor, bias: Tensor, sums: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Add maps + bias to `sums` in place, and return ReLU(sums * scale + shift) in the dtype of the maps.

    Args:
        maps: [N, C, D, H, W], channels last.
        bias, scale, shift: [C], the last two float32.
        sums: float32, of the maps' shape and layout.
    """
    maps = maps.contiguous(memory_format=channels_last(maps))
    channels = maps.shape[1]
    samples = maps.numel() // channels
    with torch.cuda.device_of(maps):
        _add_and_norm[triton.cdiv(samples, BLOCK_PIXELS), triton.cdiv(channels, BLOCK_CHANNELS)](
            maps, bias, sums, scale, shift, maps, samples, channels,
            BLOCK_P=BLOCK_PIXELS, BLOCK_C=BLOCK_CHANNELS,
        )  # fmt: skip
    return maps


def trial(device: torch.device) -> Tensor:
    """Compile the kernels, run them once on a device, and return what comes of it."""
    maps = torch.ones(1, 32, 4, 4, dtype=torch.half, device=device)
    sums, one = torch.ones(1, 32, 2, 2, device=device), torch.ones(32, device=device)
    return add_and_norm(activate(maps, one, pool=2), one, sums, one, one)
