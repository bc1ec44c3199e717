"""Landmarks of one face: on every real clip, in frame pixels, stable, independent of the chunks."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.faces import FaceTracker, estimate, tracker
from liveportrait_v2v.faces.inference import infer

# Where to begin: at the start, and where a clip is hardest (hands before the face, the widest movements).
CLIPS = {
    "jwp_intro": 0, "test_movie": 0, "wolfgang": 80, "single_face": 24, "cap12": 0, "cap13": 0, "obama": 0,
    "carphone": 40, "humo": 0, "ltx2": 0, "avatar": 0, "wan2": 0, "ltxv": 0,
}  # fmt: skip


def turned(frame, degrees):
    """Return the frame turned clockwise about its middle, and the matrix that turns centred coordinates so."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = frame.shape[1:3]
    back = torch.tensor([[cos, sin * height / width, 0], [-sin * width / height, cos, 0]])
    grid = F.affine_grid(back[None], [1, 3, height, width], align_corners=False)
    image = F.grid_sample(frame.permute(0, 3, 1, 2).float(), grid, align_corners=False)
    return image.permute(0, 2, 3, 1).round().byte(), torch.tensor([[cos, sin], [-sin, cos]])


def face_size(landmarks):
    return (landmarks[:, :2].amax(0) - landmarks[:, :2].amin(0)).amax().item()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "start"), CLIPS.items())
def test_a_face_is_followed_on_99_of_100_frames_of_a_real_clip(frames, tracked, name, start):
    clip = frames(name, start, 40)
    landmarks, present, _ = tracked(clip).face(0)
    assert present.float().mean() >= 0.99
    height, width = clip.shape[1:3]
    middle = landmarks[present].mean(1)
    assert (middle[:, 0] > 0).all()
    assert (middle[:, 0] < width).all()
    assert (middle[:, 1] > 0).all()
    assert (middle[:, 1] < height).all()


def test_landmarks_are_where_the_eyes_and_the_mouth_are(frames, tracked):
    # Read off the picture: the pupils and the corners of the mouth of astronaut.png.
    points = {468: (204, 100), 473: (247, 103), 61: (203, 139), 291: (246, 141)}
    landmarks = tracked(frames("astronaut")).landmarks[0, 0]
    for index, place in points.items():
        assert math.dist(landmarks[index, :2].tolist(), place) < 4


def test_the_nose_is_nearer_to_the_camera_than_the_ears(frames, tracked):
    landmarks = tracked(frames("astronaut")).landmarks[0, 0]
    assert landmarks[1, 2] < landmarks[234, 2] - 20
    assert landmarks[1, 2] < landmarks[454, 2] - 20


def test_a_picture_of_twice_the_size_has_landmarks_at_twice_the_place(frames, tracked):
    frame = frames("astronaut")
    large = frame.repeat_interleave(2, 1).repeat_interleave(2, 2)
    small, doubled = tracked(frame).landmarks[0, 0], tracked(large).landmarks[0, 0]
    assert (doubled / 2 - small).norm(dim=1).mean() < 0.01 * face_size(small)


def test_a_face_that_fills_a_large_picture_is_averaged_down_not_skipped_over(frames, tracked):
    frame = frames("astronaut")[:, 20:220, 120:320]
    large = frame.repeat_interleave(8, 1).repeat_interleave(8, 2)
    noise = torch.randint(-60, 61, large.shape, generator=torch.Generator().manual_seed(0))
    noisy = (large.int() + noise).clamp(0, 255).byte()
    small, doubled = tracked(frame).landmarks[0, 0], tracked(noisy).landmarks[0, 0]
    assert (doubled / 8 - small).norm(dim=1).mean() < 0.02 * face_size(small)


@pytest.mark.parametrize("degrees", [-45, -20, 20, 45])
def test_a_rolled_face_is_found_and_its_landmarks_roll_along(frames, tracked, degrees):
    frame = frames("jwp_intro")
    rolled, matrix = turned(frame, degrees)
    upright = tracked(frame).landmarks[0, 0]
    middle = torch.tensor([frame.shape[2] / 2, frame.shape[1] / 2])
    expected = (upright[:, :2] - middle) @ matrix + middle
    found = tracked(rolled)
    assert found.present.tolist() == [[True]]
    assert (found.landmarks[0, 0, :, :2] - expected).norm(dim=1).mean() < 0.02 * face_size(upright)


def test_the_chunks_make_no_difference(frames, tracked):
    clip = torch.cat((frames("ltx2", 0, 16), frames("humo", 0, 6)))  # a lively face, then a cut
    whole = tracked(clip, chunk=22)
    for chunk in (1, 8):
        pieces = tracked(clip, chunk=chunk)
        assert torch.equal(pieces.present, whole.present)
        assert (pieces.landmarks - whole.landmarks).abs().max() < 0.01


def test_batches_that_begin_large_save_calls_and_change_no_landmark(frames, tracked, monkeypatch):
    clip, calls = frames("wolfgang", 0, 32), []

    def counted(*arguments):
        calls.append(1)
        return infer(*arguments)

    monkeypatch.setattr(estimate, "infer", counted)
    growing = tracked(clip)
    before = len(calls)
    monkeypatch.setattr(tracker, "_frames_ahead", lambda device: (16, 16))
    large = tracked(clip)
    assert len(calls) - before < before
    assert torch.equal(large.present, growing.present)
    assert (large.landmarks - growing.landmarks).abs().max() < 0.01


def test_the_same_clip_gives_the_same_landmarks(frames, tracked):
    clip = frames("wolfgang", 0, 12)
    assert torch.equal(tracked(clip).landmarks, tracked(clip).landmarks)


def test_reset_begins_another_clip(frames, tracked):
    tracker = FaceTracker()
    tracker.track(frames("jwp_intro", 0, 4))
    tracker.reset()
    clip = frames("single_face", 0, 4)
    assert torch.equal(tracker.track(clip).landmarks, tracked(clip).landmarks)


def test_frames_are_left_as_they_were(frames, tracked):
    clip = frames("carphone", 0, 6)
    before = clip.clone()
    tracked(clip)
    assert torch.equal(clip, before)


def test_results_are_ordinary_tensors_also_under_inference_mode(frames):
    with torch.inference_mode():
        FaceTracker().track(frames("carphone", 0, 2))
    tracks = FaceTracker().track(frames("carphone", 0, 2))
    assert tracks.landmarks.dtype == torch.float32
    assert not tracks.landmarks.is_inference()
    assert tracks.present.dtype == torch.bool


def test_settings_of_torch_stay_the_users(frames):
    with torch.enable_grad():
        torch.set_num_threads(2)
        FaceTracker().track(frames("carphone", 0, 2))
        with ThreadPoolExecutor(1) as another:
            threads_there = another.submit(torch.get_num_threads).result()
        assert torch.is_grad_enabled()
        assert torch.get_num_threads() == threads_there == 2


def test_a_still_that_only_shimmers_has_landmarks_that_stand_still(frames, tracked):
    frame = frames("jwp_intro").float()
    noise = torch.randn(24, *frame.shape[1:], generator=torch.Generator().manual_seed(0))
    clip = (frame + noise).round().clamp(0, 255).byte()
    landmarks = tracked(clip).landmarks[:, 0, :, :2]
    assert landmarks.std(0).mean() < 0.1


def test_the_square_a_face_is_seen_in_moves_seldom_on_a_calm_clip(frames):
    tracker = FaceTracker()
    squares = set()
    for chunk in frames("cap12", 0, 40).split(4):
        tracker.track(chunk)
        squares.add(tracker._faces[0].square)
    assert len(squares) <= 3


@pytest.mark.parametrize(
    "options",
    [{"order": "largest"}, {"max_faces": 0}],
)
def test_an_impossible_setting_is_refused_with_the_rule(options):
    (name,) = options
    with pytest.raises(SettingsError, match=f"{name} must be"):
        FaceTracker(**options)
