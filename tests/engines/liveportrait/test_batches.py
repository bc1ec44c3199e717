"""Batches that shrink where memory runs out."""

from __future__ import annotations

import warnings

import pytest
import torch

from liveportrait_v2v.engines.liveportrait.batches import Batches, MemoryWarning


class Scarce:
    """Doubles numbers, as long as there are no more than so many at a time."""

    def __init__(self, most: int):
        self.most, self.sizes = most, []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(x))
        return 2 * x


def test_frames_go_through_in_order_as_many_at_a_time_as_allowed():
    double = Scarce(100)
    assert torch.equal(Batches(4)(double, torch.arange(10)), 2 * torch.arange(10))
    assert double.sizes == [4, 4, 2]


def test_out_of_memory_halves_the_batch_loses_nothing_and_is_said_once():
    double, batches = Scarce(2), Batches(8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert torch.equal(batches(double, torch.arange(9)), 2 * torch.arange(9))
        double.most = 1
        assert torch.equal(batches(double, torch.arange(3)), 2 * torch.arange(3))
    assert [w.category for w in said] == [MemoryWarning]
    assert batches.size == 1
    assert double.sizes == [2, 2, 2, 2, 1, 1, 1, 1]


def test_a_smaller_batch_is_kept_for_later_calls():
    double, batches = Scarce(2), Batches(8)
    with pytest.warns(MemoryWarning, match="2 frames|4 frames"):
        batches(double, torch.arange(8))
    double.most = 100
    batches(double, torch.arange(8))
    assert double.sizes == [2] * 8


def test_a_single_frame_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(MemoryWarning):
        Batches(2)(Scarce(0), torch.arange(2))


def test_several_inputs_are_cut_at_the_same_places():
    a, b = torch.arange(5), torch.arange(5) * 10
    assert torch.equal(Batches(2)(torch.add, a, b), a + b)
