"""Scratch memory that one convolution after the other uses: fresh memory costs the CPU a page fault every 4 KB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_kept = threading.local()


@contextmanager
def kept_scratch() -> Iterator[None]:
    """A block at whose end the scratch memory of its thread is freed. Without such a block each use has its own."""
    outermost = not hasattr(_kept, "memory")
    if outermost:
        _kept.memory = torch.empty(0)
    try:
        yield
    finally:
        if outermost:
            del _kept.memory


def scratch(*sizes: int) -> tuple[Tensor, ...]:
    """Uninitialized float32 memory on the CPU, in parts of these sizes. The thread's next call gives it again."""
    memory = getattr(_kept, "memory", None)
    if memory is None or len(memory) < sum(sizes):
        memory = torch.empty(sum(sizes))
        if hasattr(_kept, "memory"):
            _kept.memory = memory
    return memory[: sum(sizes)].split(sizes)
