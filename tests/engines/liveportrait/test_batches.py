"""Batches that shrink where memory runs out."""

from __future__ import annotations

import warnings

import pytest
import torch

from liveportrait_v2v.engines.liveportrait.batches import Batches, MemoryWarning


class Scarce:
    """Doubles numbers, as long as there are no more than so many at a time."""

    def __init__(self, most: int, error: Exception | None = None):
        self.most, self.sizes = most, []
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise self.error
        self.sizes.append(len(x))
        return 2 * x


def test_frames_go_through_in_order_as_many_at_a_time_as_allowed():
    double = Scarce(100)
    assert torch.equal(Batches(4)(double, torch.arange(10)), 2 * torch.arange(10))
    assert double.sizes == [4, 4, 2]


@pytest.mark.parametrize(("above", "last"), [(None, [2, 1]), (0, [4, 4]), (1, [4, 1])])
def test_batches_are_filled_up_above_a_number_of_frames(above, last):
    for count, size in zip((6, 5), last, strict=True):
        double = Scarce(100)
        found = Batches(4)(double, torch.arange(count), fill_above=above)
        assert torch.equal(found, 2 * torch.arange(count))
        assert double.sizes == [4, size]


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


def test_what_can_be_done_without_is_given_up_before_the_batch_is_halved():
    double = Scarce(2)

    def spare() -> str | None:
        if double.most == 4:
            return None
        double.most = 4
        return "graphs"

    batches = Batches(8, spare)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert torch.equal(batches(double, torch.arange(8)), 2 * torch.arange(8))
    assert double.sizes == [4, 4]
    assert [str(w.message) for w in said] == [
        "memory ran out: going on with graphs given up",
        "memory ran out: going on with 4 frames at a time",
    ]


def test_a_single_frame_that_does_not_fit_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError), pytest.warns(MemoryWarning):
        Batches(2)(Scarce(0), torch.arange(2))


def test_several_inputs_are_cut_at_the_same_places():
    a, b = torch.arange(5), torch.arange(5) * 10
    assert torch.equal(Batches(2)(torch.add, a, b), a + b)


@pytest.mark.parametrize(
    "message",
    [
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
        "CUDA error: out of memory",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
    ],
)
def test_a_library_short_of_workspace_halves_the_batch_too(message):
    double = Scarce(2, RuntimeError(message))
    with pytest.warns(MemoryWarning):
        assert torch.equal(Batches(4)(double, torch.arange(4)), 2 * torch.arange(4))
    assert double.sizes == [2, 2]


def test_a_library_that_cannot_do_a_single_frame_says_so():
    error = RuntimeError("unable to find an engine to execute this computation")
    with pytest.raises(RuntimeError, match="unable to find an engine"), pytest.warns(MemoryWarning):
        Batches(2)(Scarce(0, error), torch.arange(2))


def test_other_errors_are_no_matter_of_memory():
    with pytest.raises(RuntimeError, match="sizes differ"):
        Batches(4)(Scarce(0, RuntimeError("sizes differ")), torch.arange(4))
