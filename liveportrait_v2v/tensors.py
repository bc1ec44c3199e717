"""Dataclasses of tensors with one row per item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import torch

Index = slice | torch.Tensor | list[int]

S = TypeVar("S", bound="TensorStruct")

SHARED = {"shared": True}
"""Metadata of a field that all items share: indexing, `expand` and `cat` leave it unchanged."""


@lru_cache(maxsize=256)
def index_of(numbers: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return indices as a tensor, made once: a list takes longer to turn into one than to index by."""
    return torch.tensor(numbers, device=device)


def taken(x: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    """Return columns of x [N, K, ...] by their indices: [N, len(numbers), ...]."""
    return x.index_select(1, index_of(tuple(numbers), x.device))


def put(x: torch.Tensor, numbers: Sequence[int], values: torch.Tensor) -> None:
    """Write columns [N, len(numbers), ...] of x [N, K, ...], which is modified, by their indices."""
    x.index_copy_(1, index_of(tuple(numbers), x.device), values)


class TensorStruct:
    """Base of frozen dataclasses whose fields are tensors [N, ...] or nested structs of N items.

    The first field is not a shared one: it gives the length.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: S, index: Index) -> S:
        """Return some items: a slice, mask or list of indices along the first axis."""
        return self._each(lambda part: part[index])

    def expand(self: S, count: int) -> S:
        """Return one item repeated `count` times, as views."""
        return self._each(
            lambda part: (
                part.expand(count) if isinstance(part, TensorStruct) else part.expand(count, *part.shape[1:])
            )
        )

    def to(self: S, device: str | torch.device) -> S:
        """Return the items on another device; copies to a GPU are asynchronous."""
        ahead = torch.device(device).type == "cuda"
        return self._each(
            lambda part: (
                part.to(device) if isinstance(part, TensorStruct) else part.to(device, non_blocking=ahead)
            ),
            shared=True,
        )

    @classmethod
    def cat(cls: type[S], parts: Sequence[S]) -> S:
        """Concatenate items in order; shared fields are taken from the first part."""
        values = {}
        for item in fields(cls):
            columns = [getattr(part, item.name) for part in parts]
            if item.metadata.get("shared"):
                values[item.name] = columns[0]
            elif isinstance(columns[0], TensorStruct):
                values[item.name] = columns[0].cat(columns)
            else:
                values[item.name] = torch.cat(columns)
        return cls(**values)

    def _each(self: S, change: Callable[[Any], Any], shared: bool = False) -> S:
        """Return a copy with every field changed, shared ones only on request."""
        values = {}
        for item in fields(self):
            value = getattr(self, item.name)
            values[item.name] = change(value) if shared or not item.metadata.get("shared") else value
        return type(self)(**values)
