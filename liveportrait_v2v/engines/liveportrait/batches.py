"""Batches as large as memory allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from .networks import is_out_of_memory


class MemoryWarning(UserWarning):
    """Memory ran out; fewer frames are computed at a time from now on."""


class Batches:
    """Functions run over batches of frames.

    Where memory runs out, `spare` is asked to let go of some; where it has none, the batch is halved for good. Each is
    said once, by a MemoryWarning. A single frame without enough memory is an error.

    Args:
        size: the most frames at a time.
        spare: lets go of memory that can be done without, and returns what is gone, None if nothing is.
    """

    def __init__(self, size: int, spare: Callable[[], str | None] = lambda: None):
        self.size = size
        self._spare = spare
        self._halved = False

    def __call__(
        self, function: Callable[..., torch.Tensor], *inputs: Any, fill_above: int | None = None
    ) -> torch.Tensor:
        """function(*inputs) for tensors [N, ...], or whatever else is sliced by frames, in parts.

        Args:
            fill_above: fill batches of more frames than that up to `size`, for a function that takes long to get ready
                for another size: the last frame is repeated, and what comes of the repeated ones is left out. For
                tensors alone.

        Raises:
            RuntimeError: not even one frame fits.
        """
        parts: list[torch.Tensor] = []
        done, count = 0, len(inputs[0])
        while done < count:
            given = [x[done : done + self.size] for x in inputs]
            lacking = self.size - len(given[0])
            if fill_above is not None and lacking and len(given[0]) > fill_above:
                given = [torch.cat((x, x[-1:].expand(lacking, *x.shape[1:]))) for x in given]
            part = self._try(function, given)
            if part is None:
                continue
            parts.append(part[: count - done])
            done += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _try(self, function: Callable[..., torch.Tensor], inputs: list[Any]) -> torch.Tensor | None:
        """Return the function's result; None where memory ran out, and there is more of it now."""
        try:
            return function(*inputs)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            gone = self._spare()
            if gone is None and self.size == 1:
                raise
        # The traceback, which holds what was computed so far, is gone by now.
        if gone is None:
            self.size = max(1, self.size // 2)  # two threads may come here at once
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if gone is not None or not self._halved:
            how = f"{self.size} frames at a time" if gone is None else f"{gone} given up"
            warnings.warn(f"memory ran out: going on with {how}", MemoryWarning, stacklevel=3)
        self._halved |= gone is None
        return None
