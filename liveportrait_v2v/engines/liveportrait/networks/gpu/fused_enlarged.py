"""A 3x3 convolution of a map enlarged by nearest neighbours: products with its nine taps, and one pass that sums them.

Triton compiles the kernel. The products are taken of the small map, for each of its samples and each tap of the
convolution. A sample of the large map then is a sum of nine, of the cell that it lies in and of those beside it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_PIXELS, BLOCK_CHANNELS = 16, 32
"""Samples of the small map and channels that a program takes at a time."""
TAPS = 9


@triton.jit
def _row_of_taps(
    taps, at, tap, there, left, right, step: tl.constexpr, channels: tl.constexpr
):  # fmt: skip
    """Sum three taps beside each other: of a cell's first sample, of those between, and of its last one."""
    before = taps + at + tap * channels
    this, after = before + channels, before + 2 * channels
    middle = tl.load(this, there, 0.0).to(tl.float32)
    own_before = tl.load(before, there, 0.0).to(tl.float32)
    own_after = tl.load(after, there, 0.0).to(tl.float32)
    first = tl.load(before - step, there & left, 0.0).to(tl.float32)
    last = tl.load(after + step, there & right, 0.0).to(tl.float32)
    return first + middle + own_after, own_before + middle + own_after, own_before + middle + last


@triton.jit
def _store_row(
    out, first, between, last, there, channels: tl.constexpr, SCALE: tl.constexpr
):  # fmt: skip
    """Write a row of a cell's samples, after ReLU."""
    dtype = out.dtype.element_ty
    tl.store(out, tl.maximum(first, 0.0).to(dtype), there)
    for column in tl.static_range(1, SCALE - 1):
        tl.store(out + column * channels, tl.maximum(between, 0.0).to(dtype), there)
    tl.store(out + (SCALE - 1) * channels, tl.maximum(last, 0.0).to(dtype), there)


@triton.jit
def _sum_taps(
    taps, out, count, height, width,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr, SCALE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sum the taps [N, height, width, PARTS, 9, CHANNELS] to ReLU'd maps [PARTS, N, SCALE height, SCALE width, C]."""
    pixel = (tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P))[:, None]
    blocks: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    part = tl.program_id(1) // blocks
    channel = ((tl.program_id(1) % blocks) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    sample = tl.program_id(2).to(tl.int64)
    there = (pixel < height * width) & (channel < CHANNELS)
    y, x = pixel // width, pixel % width
    left, right = x > 0, x < width - 1
    step: tl.constexpr = PARTS * 9 * CHANNELS
    at = (sample * height * width + pixel) * step + part * 9 * CHANNELS + channel
    row = width * step
    up, down = there & (y > 0), there & (y < height - 1)
    above0, above1, above2 = _row_of_taps(taps, at - row, 0, up, left, right, step, CHANNELS)
    top0, top1, top2 = _row_of_taps(taps, at, 0, there, left, right, step, CHANNELS)
    middle0, middle1, middle2 = _row_of_taps(taps, at, 3, there, left, right, step, CHANNELS)
    bottom0, bottom1, bottom2 = _row_of_taps(taps, at, 6, there, left, right, step, CHANNELS)
    below0, below1, below2 = _row_of_taps(taps, at + row, 6, down, left, right, step, CHANNELS)
    line = width * SCALE * CHANNELS
    out += ((part * count + sample) * height * SCALE + y * SCALE) * line + x * SCALE * CHANNELS + channel
    _store_row(
        out, above0 + middle0 + bottom0, above1 + middle1 + bottom1, above2 + middle2 + bottom2, there,
        CHANNELS, SCALE,
    )  # fmt: skip
    for _ in tl.static_range(1, SCALE - 1):
        out += line
        _store_row(
            out, top0 + middle0 + bottom0, top1 + middle1 + bottom1, top2 + middle2 + bottom2, there,
            CHANNELS, SCALE,
        )  # fmt: skip
    _store_row(
        out + line, top0 + middle0 + below0, top1 + middle1 + below1, top2 + middle2 + below2, there,
        CHANNELS, SCALE,
    )  # fmt: skip


def sum_taps(taps: Tensor, parts: int, scale: int) -> tuple[Tensor, ...]:
    """Return the ReLU of convolutions of an enlarged map, with zeros around.

    Args:
        taps: [N, parts * 9 * C, h, w], channels last: the small map's convolution with a `tap_kernel`.
        scale: 2 or more.

    Returns:
        [N, C, scale * h, scale * w] for each part, channels last.
    """
    taps = taps.contiguous(memory_format=torch.channels_last)
    count, channels, height, width = taps.shape
    channels //= TAPS * parts
    out = taps.new_empty(parts, count, scale * height, scale * width, channels)
    with torch.cuda.device_of(taps):
        blocks = triton.cdiv(height * width, BLOCK_PIXELS), triton.cdiv(channels, BLOCK_CHANNELS)
        _sum_taps[blocks[0], parts * blocks[1], count](
            taps, out, count, height, width,
            PARTS=parts, CHANNELS=channels, SCALE=scale, BLOCK_P=BLOCK_PIXELS, BLOCK_C=BLOCK_CHANNELS,
        )  # fmt: skip
    return tuple(x.permute(0, 3, 1, 2) for x in out.unbind())


def trial(device: torch.device) -> Tensor:
    """Compile the kernel, run it once on a device, and return what comes of it."""
    return sum_taps(torch.ones(1, TAPS * 8, 2, 2, dtype=torch.half, device=device), 1, 2)[0]
