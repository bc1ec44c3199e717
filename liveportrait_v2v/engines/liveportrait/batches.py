"""Batches as large as memory allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from .networks import is_out_of_memory


class MemoryWarning(UserWarning):
    """Memory ran out; fewer frames are computed at a time from now on."""


class Batches:
    """Functions run over batches of frames.

    Where memory runs out, the batch is halved for good, with one MemoryWarning; a single frame without enough memory
    is an error.

    Args:
        size: the most frames at a time.
    """

    def __init__(self, size: int):
        self.size = size
        self._warned = False

    def __call__(
        self, function: Callable[..., torch.Tensor], *inputs: torch.Tensor, fixed: bool = False
    ) -> torch.Tensor:
        """function(*inputs) for tensors [N, ...], in parts.

        Args:
            fixed: give the function `size` frames each time; the last one is repeated, and what comes of the repeated
                ones is left out.

        Raises:
            RuntimeError: not even one frame fits.
        """
        parts: list[torch.Tensor] = []
        done, count = 0, len(inputs[0])
        while done < count:
            given = [x[done : done + self.size] for x in inputs]
            lacking = self.size - len(given[0]) if fixed else 0
            if lacking:
                given = [torch.cat((x, x[-1:].expand(lacking, *x.shape[1:]))) for x in given]
            part = self._try(function, given)
            if part is None:
                self._halve()
                continue
            parts.append(part[: count - done])
            done += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _try(self, function: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> torch.Tensor | None:
        """None where memory ran out. The traceback, which holds what was computed so far, is gone by then."""
        try:
            return function(*inputs)
        except RuntimeError as error:
            if self.size == 1 or not is_out_of_memory(error):
                raise
            return None

    def _halve(self) -> None:
        self.size = max(1, self.size // 2)  # two threads may come here at once
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"memory ran out: going on with {self.size} frames at a time", MemoryWarning, stacklevel=4
            )
