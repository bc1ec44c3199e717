"""Dataclasses of tensors are indexed, expanded and joined like tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from liveportrait_v2v.tensors import SHARED, TensorStruct


@dataclass(frozen=True)
class Point(TensorStruct):
    place: torch.Tensor


@dataclass(frozen=True)
class Named(TensorStruct):
    point: Point
    size: torch.Tensor
    origin: torch.Tensor = field(metadata=SHARED)


@pytest.fixture
def named() -> Named:
    return Named(Point(torch.arange(6.0).view(3, 2)), torch.arange(3), torch.tensor([7.0]))


def test_an_index_takes_items_of_every_field_but_the_shared_ones(named):
    part = named[1:]
    assert (len(named), len(part)) == (3, 2)
    assert part.point.place.tolist() == [[2, 3], [4, 5]]
    assert part.size.tolist() == [1, 2]
    assert part.origin is named.origin


def test_a_mask_takes_items_too(named):
    assert named[torch.tensor([True, False, True])].size.tolist() == [0, 2]


def test_one_item_expands_to_many_without_copies(named):
    many = named[:1].expand(4)
    assert (len(many), many.point.place.shape) == (4, (4, 2))
    assert many.point.place.stride(0) == 0


def test_parts_are_joined_in_order(named):
    joined = Named.cat((named[2:], named[:2]))
    assert joined.point.place[:, 0].tolist() == [4, 0, 2]
    assert joined.origin is named.origin


def test_all_fields_go_to_another_device(named):
    moved = named.to("meta")
    assert {moved.point.place.device.type, moved.size.device.type, moved.origin.device.type} == {"meta"}
