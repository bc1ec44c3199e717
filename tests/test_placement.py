"""Placements of crops, in memory and in files."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file

from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.placement import FORMAT, Placement, PlacementError


def placement(**changes) -> Placement:
    """Two faces in three frames; the second one is not shown in the second frame."""
    sides = torch.tensor([60.0, 40.0, 61.0, 0.0, 62.0, 42.0])
    squares = FaceSquare.turned(torch.rand(6, 2) * 100, sides, torch.rand(6))
    single = FaceSquare(squares.center.float(), squares.axes.float(), squares.side.float())
    return replace(Placement(single, 2, (160, 120), Fraction(30000, 1001)), **changes)


def test_a_placement_counts_the_crops_and_gives_each_faces_squares():
    made = placement()
    assert len(made) == 3
    assert made.shown.tolist() == [[True, True], [True, False], [True, True]]
    assert made.crop_count == 5
    assert made.of_face(1).side.tolist() == [40, 0, 42]


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), None])
def test_what_is_written_is_read_again(tmp_path, rate):
    made = placement(rate=rate)
    made.write(tmp_path / "p.safetensors")
    found = Placement.read(tmp_path / "p.safetensors")
    assert (found.faces, found.size, found.rate) == (2, (160, 120), rate)
    for name in ("center", "axes", "side"):
        assert torch.equal(getattr(found.squares, name), getattr(made.squares, name))
    assert os.listdir(tmp_path) == ["p.safetensors"]


def tensors() -> dict[str, torch.Tensor]:
    return {
        "center": torch.zeros(3, 2, 2),
        "axes": torch.eye(2).repeat(3, 2, 1, 1),
        "side": torch.ones(3, 2),
    }


ABOUT = {"format": FORMAT, "size": "160x120", "rate": "25"}


@pytest.mark.parametrize(
    ("changes", "about", "message"),
    [
        ({}, {"format": "another 1"}, "its format is 'another 1'"),
        ({"side": torch.ones(3)}, {}, "is no placement"),
        ({"side": torch.ones(0, 2)}, {}, "0 frames with 2 faces"),
        ({"side": torch.ones(3, 65)}, {}, "3 frames with 65 faces"),
        ({"center": torch.zeros(2, 2, 2)}, {}, "center is not 3 x 2 finite squares"),
        ({"center": torch.full((3, 2, 2), torch.inf)}, {}, "center is not 3 x 2 finite squares"),
        ({"side": torch.full((3, 2), -1.0)}, {}, "a square in it is none"),
        ({"axes": torch.ones(3, 2, 2, 2)}, {}, "a square in it is none"),
        ({}, {"size": "0x120"}, "its frames are 0x120"),
        ({}, {"size": "wide"}, "is no placement"),
        ({}, {"rate": "-1"}, "at -1 a second"),
        ({}, {"rate": "1/0"}, "is no placement"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path, changes, about, message):
    save_file({**tensors(), **changes}, tmp_path / "p.safetensors", {**ABOUT, **about})
    with pytest.raises(PlacementError, match=message):
        Placement.read(tmp_path / "p.safetensors")


@pytest.mark.parametrize("content", [b"", b"Dear reader", os.urandom(300)])
def test_other_bytes_are_refused(tmp_path, content):
    (tmp_path / "p.safetensors").write_bytes(content)
    with pytest.raises(PlacementError, match=r"p\.safetensors: is no placement"):
        Placement.read(tmp_path / "p.safetensors")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(PlacementError, match="can't be read"):
        Placement.read(tmp_path / "p.safetensors")
