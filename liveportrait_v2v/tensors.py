"""Dataclasses of tensors that hold one row for each of N items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar, TypeVar

import torch

S = TypeVar("S", bound="TensorStruct")

SHARED = {"shared": True}
"""Metadata of a field that all items share: indexing, expanding and joining leave it alone."""


class TensorStruct:
    """Base of frozen dataclasses whose fields are tensors [N, ...], or such dataclasses in turn."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: S, index: Any) -> S:
        """Return some items; an index as of a tensor's first axis."""
        return self._each(lambda part: part[index])

    def expand(self: S, count: int) -> S:
        """Return one item as `count` items, without copies."""
        return self._each(
            lambda part: (
                part.expand(count) if isinstance(part, TensorStruct) else part.expand(count, *part.shape[1:])
            )
        )

    def to(self: S, device: str | torch.device) -> S:
        """Return the items on another device; copying to a GPU does not wait for its work."""
        ahead = torch.device(device).type == "cuda"
        return self._each(
            lambda part: (
                part.to(device) if isinstance(part, TensorStruct) else part.to(device, non_blocking=ahead)
            ),
            shared=True,
        )

    @classmethod
    def cat(cls: type[S], parts: Sequence[S]) -> S:
        """Join items in order; shared fields are the first part's."""
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
        """Return a copy with every field changed, shared ones only if asked for."""
        values = {}
        for item in fields(self):
            value = getattr(self, item.name)
            values[item.name] = change(value) if shared or not item.metadata.get("shared") else value
        return type(self)(**values)
