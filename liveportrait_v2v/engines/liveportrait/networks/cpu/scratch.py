"""Scratch memory on the CPU, where fresh memory costs a page fault every 4 KB."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

_kept = threading.local()


def scratch(*sizes: int) -> tuple[Tensor, ...]:
    """Uninitialized float32 memory in parts of these sizes. The thread keeps it, and its next call gives it again."""
    total = sum(sizes)
    if not hasattr(_kept, "memory") or len(_kept.memory) < total:
        _kept.__dict__.clear()  # let go before more is asked for, which may fail
        with torch.inference_mode(False):  # else only code in inference mode could write into it later on
            _kept.memory = torch.empty(total)
    return _kept.memory[:total].split(sizes)
