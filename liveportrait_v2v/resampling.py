"""Resizing of pictures by exact means over areas."""

from __future__ import annotations

from functools import lru_cache

import torch


def resize(pictures: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize pictures [N, C, h, w] float32: means over areas where they shrink, bilinear where they grow."""
    rows = _resampling(pictures.shape[2], height, pictures.device)
    columns = _resampling(pictures.shape[3], width, pictures.device)
    return rows @ pictures @ columns.mT


@lru_cache(maxsize=16)
def _resampling(before: int, after: int, device: torch.device) -> torch.Tensor:
    """Return the weights of `before` samples in each of `after` ones, float32 [after, before]; rows add up to 1."""
    step = before / after
    middle = (torch.arange(after, dtype=torch.float64).unsqueeze(1) + 0.5) * step
    place = torch.arange(before, dtype=torch.float64)
    if step > 1:
        low, high = middle - step / 2, middle + step / 2
        weights = (torch.minimum(high, place + 1) - torch.maximum(low, place)).clamp_min(0)
    else:
        weights = (1 - (place + 0.5 - middle).abs()).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float().to(device)
