"""Conversion of the model's clip to the plan's frames, rate and size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
import torch.nn.functional as F

from ...media import Clip, ClipInfo
from ...plan.pairing import Pairing

_RESULT_GROWTH = 4
"""Pixels of a result that is accepted, over those of its source; 4K is always accepted."""


def max_result_pixels(size: tuple[int, int]) -> int:
    """Return the largest frame of a result that is read for a source of this size: memory takes what it states."""
    return max(_RESULT_GROWTH * size[0] * size[1], 3840 * 2160)


def conform(
    clip: Clip, pairing: Pairing, size: tuple[int, int], chunk: int
) -> tuple[Iterator[torch.Tensor], list[str]]:
    """Bring the model's clip to the frames, rate and size of the plan.

    Args:
        clip: the hosted model's clip.
        size: width and height of the source.
        chunk: frames per chunk.

    Returns:
        chunks uint8 [N, H, W, 3] of pairing.frames frames in total, and notes for the user about the changes.
    """
    info, notes = clip.info, list[str]()
    rate: Fraction | None = None
    missing = pairing.frames - info.frame_count
    if info.rate is not None and _lasts_as_long(info, pairing) and missing and info.rate != pairing.rate:
        rate = pairing.rate
        notes.append(f"the model's clip came at {float(info.rate):.5g} frames a second and was resampled")
    elif missing > 0:
        notes.append(f"the model's clip was {missing} frames short; its last frame is held")
    elif missing < 0:
        notes.append(
            f"the model's clip was {-missing} frames longer than the uploaded clips; they are cut off"
        )
    even = size[0] + size[0] % 2, size[1] + size[1] % 2
    if (info.width, info.height) not in (size, even):
        notes.append(
            f"the model's clip came in {info.width}x{info.height} and was scaled to the source's size"
        )
    return _frames(clip, pairing.frames, rate, size, even, chunk), notes


def _lasts_as_long(info: ClipInfo, pairing: Pairing) -> bool:
    """Return whether a clip lasts as long as the result, within one frame."""
    if info.rate is None or info.duration is None:
        return False
    return abs(info.duration - pairing.frames / pairing.rate) <= max(1 / pairing.rate, 1 / info.rate)


def _frames(
    clip: Clip,
    count: int,
    rate: Fraction | None,
    size: tuple[int, int],
    even: tuple[int, int],
    chunk: int,
) -> Iterator[torch.Tensor]:
    last = torch.empty(0)
    for part in clip.chunks(chunk, cap=count, rate=rate):
        frames = _sized(part.frames, size, even)
        last = frames[-1:]
        count -= len(frames)
        yield frames
    while count:
        held = min(chunk, count)
        count -= held
        yield last.expand(held, -1, -1, -1)


def _sized(frames: torch.Tensor, size: tuple[int, int], even: tuple[int, int]) -> torch.Tensor:
    width, height = size
    if (frames.shape[2], frames.shape[1]) in (size, even):
        return frames[:, :height, :width]
    planes = frames.permute(0, 3, 1, 2).float()
    scaled = F.interpolate(planes, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return scaled.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
