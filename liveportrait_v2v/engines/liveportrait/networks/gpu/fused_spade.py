"""A SPADE after its convolution in two passes over memory: statistics, and norm, modulation and LeakyReLU together.

Triton compiles the kernels, which torch's CUDA builds for Linux bring along. Maps are in channels-last layout; all
arithmetic is in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

EPS = 1e-5
"""Added to variances, as in torch's instance norm."""
BLOCK_PIXELS, BLOCK_CHANNELS = 32, 64
"""Pixels and channels that a program takes at a time."""
PARTS = 16
"""Programs that share a sample's pixels when these are summed."""


class Measured(NamedTuple):
    """Maps whose instance norm is known, but not applied yet.

    Attributes:
        maps: half precision [N, C, h, w], channels last.
        norm: float32 [N, 2, C]; the norm is maps * norm[:, 0] + norm[:, 1].
    """

    maps: Tensor
    norm: Tensor


@triton.jit
def _sum_parts(
    maps, sums, pixels, channels, PART: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr
):
    """Sum a part of a sample's pixels, and their squares, after the sample's first pixel is taken off.

    That one is near the mean, so that the squares' sum loses no digits to it.
    """
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    part, sample = tl.program_id(1), tl.program_id(2)
    maps += sample.to(tl.int64) * pixels * channels
    first = tl.load(maps + channel).to(tl.float32)
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    squares = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for start in range(0, PART, BLOCK_P):
        pixel = part * PART + start + tl.arange(0, BLOCK_P)
        value = tl.load(maps + pixel[:, None] * channels + channel[None, :]).to(tl.float32) - first[None, :]
        total += value
        squares += value * value
    out = sums + (sample * tl.num_programs(1) + part) * 2 * channels + channel
    tl.store(out, tl.sum(total, 0))
    tl.store(out + channels, tl.sum(squares, 0))


@triton.jit
def _norm_of_sums(maps, sums, norm, pixels, channels, eps, PARTS: tl.constexpr, BLOCK_C: tl.constexpr):
    """Turn the sums of all parts of a sample into what its maps are multiplied by, and what is added."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(1)
    first = tl.load(maps + sample.to(tl.int64) * pixels * channels + channel).to(tl.float32)
    part = sums + (sample * PARTS + tl.arange(0, PARTS))[:, None] * 2 * channels + channel[None, :]
    mean = tl.sum(tl.load(part), 0) / pixels
    variance = tl.maximum(tl.sum(tl.load(part + channels), 0) / pixels - mean * mean, 0.0)
    scale = 1 / tl.sqrt(variance + eps)
    out = norm + sample * 2 * channels + channel
    tl.store(out, scale)
    tl.store(out + channels, -(mean + first) * scale)


@triton.jit
def _modulate(
    maps, norm, both, out, slope, height, width, channels,
    SCALE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Norm some pixels, enlarged by nearest neighbours, multiply by gamma, add beta, and apply a LeakyReLU."""
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    sample = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    small = (pixel // width) // SCALE * (width // SCALE) + (pixel % width) // SCALE
    pixels = height * width
    at = norm + sample * 2 * channels + channel
    scale, shift = tl.load(at), tl.load(at + channels)
    there = sample * (pixels // (SCALE * SCALE)) + small
    value = tl.load(maps + there[:, None] * channels + channel[None, :]).to(tl.float32)
    place = sample * pixels + pixel
    gamma = both + place[:, None] * (2 * channels) + channel[None, :]
    found = value * scale[None, :] + shift[None, :]
    found = found * tl.load(gamma).to(tl.float32) + tl.load(gamma + channels).to(tl.float32)
    found = tl.where(found > 0, found, found * slope)
    tl.store(out + place[:, None] * channels + channel[None, :], found.to(out.dtype.element_ty))


def measure(maps: Tensor) -> Measured:
    """Return maps [N, C, h, w], channels last, with their instance norm.

    h * w is a multiple of `PARTS` * `BLOCK_PIXELS` and C one of `BLOCK_CHANNELS`, as everywhere in the generator.
    """
    maps = maps.contiguous(memory_format=torch.channels_last)
    count, channels, height, width = maps.shape
    pixels = height * width
    sums = maps.new_empty((count, PARTS, 2, channels), dtype=torch.float32)
    norm = maps.new_empty((count, 2, channels), dtype=torch.float32)
    blocks = channels // BLOCK_CHANNELS
    with torch.cuda.device_of(maps):
        _sum_parts[(blocks, PARTS, count)](
            maps, sums, pixels, channels, PART=pixels // PARTS, BLOCK_P=BLOCK_PIXELS, BLOCK_C=BLOCK_CHANNELS
        )
        _norm_of_sums[(blocks, count)](
            maps, sums, norm, pixels, channels, EPS, PARTS=PARTS, BLOCK_C=BLOCK_CHANNELS
        )
    return Measured(maps, norm)


def modulate(measured: Measured, both: Tensor, slope: float | None) -> Tensor:
    """Return LeakyReLU(norm(maps) * gamma + beta), half precision [N, C, H, W], channels last.

    Args:
        measured: [N, C, h, w], enlarged by nearest neighbours to H and W.
        both: gamma and beta, [N, 2 C, H, W], channels last.
        slope: of the LeakyReLU; None leaves it out.
    """
    both = both.contiguous(memory_format=torch.channels_last)
    count, channels = measured.maps.shape[:2]
    height, width = both.shape[2:]
    out = torch.empty_like(both[:, :channels], memory_format=torch.channels_last)
    with torch.cuda.device_of(both):
        _modulate[(height * width // BLOCK_PIXELS, channels // BLOCK_CHANNELS, count)](
            *(measured.maps, measured.norm, both, out, 1.0 if slope is None else slope),
            *(height, width, channels),
            SCALE=height // measured.maps.shape[2],
            BLOCK_P=BLOCK_PIXELS,
            BLOCK_C=BLOCK_CHANNELS,
        )
    return out


def trial(device: torch.device) -> Tensor:
    """Compile the kernels, run them once on a device, and return what comes of it."""
    maps, both = (
        torch.ones(1, channels, 32, 32, dtype=torch.half, device=device)
        for channels in (BLOCK_CHANNELS, 2 * BLOCK_CHANNELS)
    )
    return modulate(measure(maps), both, None)
