"""What is launched on a device: tensor operations other than views."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations without a kernel that torch does not declare as views.
FREE = {"aten._unsafe_view", "aten.detach", "aten.empty", "aten.empty_like", "aten.new_empty"}


class Kernels(TorchDispatchMode):
    """Context manager that records the operations on a device inside of it.

    Attributes:
        names: of those that launch a kernel, in order, without overloads.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self._device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        there = any(isinstance(leaf, torch.Tensor) and leaf.device.type == self._device for leaf in leaves)
        name = str(func).rpartition(".")[0]
        if there and not func.is_view and name not in FREE:
            self.names.append(name)
        return result
