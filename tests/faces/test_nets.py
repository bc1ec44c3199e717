"""The three networks give what the original files give, on real pictures."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from liveportrait_v2v.faces import FaceSquare, nets
from liveportrait_v2v.faces.crops import cut
from liveportrait_v2v.faces.detect import letterbox
from liveportrait_v2v.faces.nets import Captured, convolve, load_net

# Name of a clip, frame, and a square around a face: rolled and off centre, too, as tracking meets them.
PICTURES = [
    ("astronaut", 0, (225, 110, 190, 0.0)),
    ("astronaut", 0, (240, 120, 230, 0.4)),
    ("jwp_intro", 30, (260, 190, 250, -0.1)),
    ("wolfgang", 20, (300, 150, 330, 0.0)),
    ("obama", 5, (210, 60, 80, 0.1)),
]


def original(clips, name):
    """Return a runner of the original model: NHWC float32 -> its outputs, by size."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    if name == "face_detector_full_range":
        model = clips["model_full_range"].read_bytes()
    else:
        member = "face_landmarks_detector" if name == "face_landmarks" else "face_detector"
        with zipfile.ZipFile(clips["model_face_landmarker"]) as task:
            model = task.read(f"{member}.tflite")
    interpreter = litert.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()

    def run(image: torch.Tensor) -> list[np.ndarray]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.contiguous().numpy())
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]

    return run


@torch.no_grad()
def test_the_landmark_net_is_within_a_hundredth_of_a_pixel_of_the_original(clips, frames):
    net, reference = load_net("face_landmarks"), original(clips, "face_landmarks")
    for clip, frame, (x, y, side, angle) in PICTURES:
        square = FaceSquare.turned(torch.tensor([[x, y]]), torch.tensor([side]), torch.tensor([angle]))
        crop = cut(frames(clip, frame), square, 256)
        landmarks, presence = net(crop)
        expected, expected_presence, _ = reference(crop)
        assert np.abs(landmarks.numpy().ravel() - expected.ravel()).max() < 0.01
        assert abs(presence.item() - expected_presence.item()) < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("name", ["face_detector_full_range", "face_detector_short_range"])
def test_a_detector_is_within_a_thousandth_of_the_original(clips, frames, name):
    net, reference = load_net(name), original(clips, name)
    for clip, frame in {(clip, frame) for clip, frame, _ in PICTURES}:
        image = letterbox(frames(clip, frame), net.size)[0]
        boxes, scores = net(image)
        expected = {array.shape[-1]: array for array in reference(image)}
        assert np.abs(boxes.numpy() - expected[16]).max() < 1e-3
        assert np.abs(scores.numpy() - expected[1][..., 0]).max() < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("name", ["face_landmarks", "face_detector_full_range", "face_detector_short_range"])
def test_a_batch_gives_what_its_pictures_give_one_by_one(name):
    net = load_net(name)
    images = torch.rand(3, net.size, net.size, 3, generator=torch.Generator().manual_seed(0))
    together = net(images)
    for i in range(3):
        for whole, alone in zip(together, net(images[i : i + 1]), strict=True):
            assert torch.allclose(whole[i], alone[0], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", ["face_landmarks", "face_detector_full_range", "face_detector_short_range"])
def test_a_net_leaves_its_input_as_it_was(name):
    net = load_net(name)
    images = torch.rand(1, net.size, net.size, 3)
    before = images.clone()
    net(images)
    assert torch.equal(images, before)


@torch.no_grad()
@pytest.mark.parametrize("name", nets.NETS)
def test_the_form_for_gpus_gives_the_same(name, monkeypatch):
    net = load_net(name)
    images = torch.rand(3, net.size, net.size, 3, generator=torch.Generator().manual_seed(0))
    wanted = net(images)
    monkeypatch.setattr(nets, "convolve", lambda *given: convolve(*given[:-1], products=True))
    for found, expected in zip(net(images), wanted, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 8, 16, 21])
def test_a_captured_net_takes_batches_of_any_size_in_a_few_sizes(count):
    seen = []

    def graphed(x):
        seen.append(len(x))
        return x + 1, 2 * x

    given = torch.arange(2.0 * count).view(count, 2)
    found = Captured(load_net("face_landmarks"), graphed)(given)
    assert set(seen) <= set(nets.BATCHES)
    assert torch.equal(found[0], given + 1)
    assert torch.equal(found[1], 2 * given)


def test_a_captured_net_has_the_attributes_of_its_net():
    net = load_net("face_detector_full_range")
    captured = Captured(net)
    assert (captured.size, captured.threshold) == (net.size, net.threshold)
    assert captured.anchors is net.anchors
