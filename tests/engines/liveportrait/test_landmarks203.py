"""What is measured on a face, by the tracker's points or by the published network's."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v.engines.liveportrait.landmarks203 import (
    Landmarks203,
    LandmarksWarning,
    eye_openings,
    lip_opening,
    square_of,
)
from liveportrait_v2v.geometry import crop_square
from liveportrait_v2v.tracking import TrackedChunk


def marks(**changes) -> torch.Tensor:
    return landmarks(**changes).unsqueeze(0)


def points203(face: torch.Tensor) -> torch.Tensor:
    """203 points [203, 2] of which those with a name lie where a face's are, all others in the middle."""
    points = face[0, 1, :2].expand(203, 2).clone()
    at = {
        0: 33,
        6: 159,
        12: 133,
        18: 145,
        24: 362,
        30: 386,
        36: 263,
        42: 374,
        48: 61,
        66: 291,
        90: 13,
        102: 14,
    }
    for ours, theirs in at.items():
        points[ours] = face[0, theirs, :2]
    points[100] = face[0, 152, :2]
    return points


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    """An onnxruntime whose network finds the points of `runtime.points` in `runtime.square`; and a file for it.

    `runtime.batch` is the network's batch size, 1 or "batch" for any.
    """
    made = types.ModuleType("onnxruntime")
    made.inputs = []

    class InferenceSession:
        def __init__(self, path, providers):
            made.path = path

        def get_inputs(self):
            return [types.SimpleNamespace(name="input", shape=[made.batch, 3, 224, 224])]

        def run(self, outputs, inputs):
            assert outputs is None
            made.inputs.append(inputs["input"])
            count = len(inputs["input"])
            assert made.batch in (count, "batch")
            there = made.square.to_crop(made.points[None], 1.0)
            other = np.zeros((count, 406), dtype=np.float32)
            return [other, other, there.reshape(1, 406).expand(count, 406).numpy()]

    made.batch, made.square, made.points = 1, crop_square(marks(), scale=1.5), torch.zeros(203, 2)
    made.InferenceSession = InferenceSession
    made.__spec__ = types.SimpleNamespace(name="onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", made)
    (tmp_path / "landmark.onnx").write_bytes(b"")
    return made


def test_openings_grow_with_lids_and_lips():
    assert lip_opening(marks(drop=0.0)).item() < 0.02 < 0.15 < lip_opening(marks(drop=1.5)).item()
    wide, narrow = eye_openings(marks()), eye_openings(marks(lids=0.4))
    torch.testing.assert_close(narrow, 0.4 * wide, atol=0.02, rtol=0)


def test_openings_do_not_depend_on_size_and_roll():
    near, far = marks(drop=1, size=9, roll=25), marks(drop=1, size=3)
    torch.testing.assert_close(lip_opening(near), lip_opening(far), atol=1e-3, rtol=0)
    torch.testing.assert_close(eye_openings(near), eye_openings(far), atol=1e-3, rtol=0)


def test_the_left_eye_is_the_pictures():
    face = marks()
    face[0, [159, 160, 158], 1] = face[0, [145, 144, 153], 1]
    left, right = eye_openings(face)[0].tolist()
    assert left < 0.1 < right


def test_a_mouth_is_as_high_as_its_inner_lips_and_as_wide_as_its_outer_corners():
    face = marks(drop=1)[0, :, :2]
    wanted = (face[13] - face[14]).norm() / (face[61] - face[291]).norm()
    assert lip_opening(marks(drop=1)).item() == pytest.approx(0.9 * wanted.item(), rel=1e-3)


def test_without_the_network_the_square_is_the_trackers_and_three_per_cent_wider():
    given, wanted = square_of(marks(), scale=2.0), crop_square(marks(), scale=2.0)
    assert torch.equal(given.center, wanted.center)
    assert given.side.item() == pytest.approx(1.03 * wanted.side.item(), rel=1e-6)


def test_openings_of_the_478_are_turned_into_those_of_the_203_points():
    face = marks(drop=1, lids=0.7, roll=10)
    both = torch.cat((face, torch.nn.functional.pad(points203(face), (0, 1))[None]), dim=1)
    torch.testing.assert_close(eye_openings(face), 1.2 * eye_openings(both) - 0.027, atol=0.02, rtol=0)
    torch.testing.assert_close(lip_opening(face), 0.9 * lip_opening(both), atol=0.01, rtol=0)


def test_a_shut_eye_is_not_open_by_less_than_nothing():
    assert eye_openings(marks(lids=0.0)).tolist() == [[0.0, 0.0]]


def test_the_203_points_give_the_square():
    face = marks(roll=10)
    points = points203(face)
    both = torch.cat((face, torch.nn.functional.pad(points, (0, 1))[None]), dim=1)
    square = square_of(both, scale=2.0)
    spread = points @ square.axes[0].T
    assert square.side.item() == pytest.approx(2 * (spread.amax(0) - spread.amin(0)).max().item(), rel=1e-4)


def test_the_network_reads_the_turned_square_and_its_third_answer_comes_back_in_pixels(runtime, tmp_path):
    face = marks(roll=15)
    runtime.square, runtime.points = square_of(face, scale=1.5, vy_ratio=-0.1), points203(face)
    frames = torch.randint(0, 256, (1, 240, 320, 3), dtype=torch.uint8)
    network = Landmarks203.find([tmp_path])
    runtime.inputs.clear()
    found = network(frames, face)
    torch.testing.assert_close(found[0], runtime.points, atol=1e-2, rtol=0)
    (crop,) = runtime.inputs
    assert crop.shape == (1, 3, 224, 224)
    assert crop.dtype == np.float32
    assert 0.9 < crop.max() <= 1
    assert runtime.path.endswith("landmark.onnx")


@pytest.mark.parametrize(("batch", "calls"), [(1, 2), ("batch", 1)])
def test_a_chunk_gets_the_points_of_the_frames_that_show_the_face(runtime, tmp_path, batch, calls):
    face, runtime.batch = marks(), batch
    runtime.square, runtime.points = square_of(face, scale=1.5, vy_ratio=-0.1), points203(face)
    frames = torch.zeros(3, 240, 320, 3, dtype=torch.uint8)
    chunk = TrackedChunk(frames, face.expand(3, -1, -1), torch.tensor([True, False, True]), index=8)
    network = Landmarks203.find([tmp_path])
    runtime.inputs.clear()
    extended = network.extend(chunk)
    assert extended.landmarks.shape == (3, 681, 3)
    assert len(runtime.inputs) == calls
    for k in (0, 2):
        torch.testing.assert_close(extended.landmarks[k, 478:, :2], runtime.points, atol=1e-2, rtol=0)
    assert not extended.landmarks[1, 478:].any()
    assert torch.equal(extended.landmarks[:, :478], chunk.landmarks)
    assert (extended.frames is frames, extended.index) == (True, 8)


@pytest.mark.parametrize("fault", ["load", "answer"])
def test_a_file_that_cannot_be_used_is_said_and_done_without(runtime, tmp_path, monkeypatch, fault):
    def broken(*arguments, **options):
        raise RuntimeError("INVALID_PROTOBUF")

    if fault == "load":
        monkeypatch.setattr(runtime, "InferenceSession", broken)
    else:
        monkeypatch.setattr(runtime.InferenceSession, "run", lambda *given: [np.zeros(3)])
    with pytest.warns(LandmarksWarning, match=r"landmark\.onnx: can't be used.*download it again"):
        assert Landmarks203.find([tmp_path]) is None


def test_without_the_file_or_without_onnxruntime_there_is_none(runtime, tmp_path, monkeypatch):
    assert Landmarks203.find([tmp_path / "elsewhere"]) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert Landmarks203.find([tmp_path]) is None
