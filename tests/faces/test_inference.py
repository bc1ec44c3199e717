"""Landmark inference on faces whose position is known."""

from __future__ import annotations

import torch

from liveportrait_v2v.faces import FaceTracker, landmarks_near


def test_inference_near_tracked_landmarks_agrees_with_the_tracker(frames):
    given = frames("jwp_intro", 0, 3)
    tracked, present, _ = FaceTracker().track(given).face(0)
    assert present.all()
    landmarks, presence = landmarks_near(given, tracked)
    face = (tracked[:, 454] - tracked[:, 234])[:, :2].norm(dim=-1)
    assert ((landmarks - tracked)[..., :2].norm(dim=-1).mean(1) < 0.01 * face).all()
    assert (presence > 0.9).all()


def test_inference_on_a_blank_frame_has_low_presence(frames):
    given = frames("jwp_intro", 0, 1)
    tracked, *_ = FaceTracker().track(given).face(0)
    _, presence = landmarks_near(torch.full_like(given, 128), tracked)
    assert presence.item() < 0.5


def test_each_face_is_inferred_in_its_own_frame(frames):
    given = frames("jwp_intro", 0, 2)
    tracked, *_ = FaceTracker().track(given).face(0)
    both, _ = landmarks_near(given, tracked)
    alone = [landmarks_near(given[k : k + 1], tracked[k : k + 1])[0][0] for k in range(2)]
    torch.testing.assert_close(both, torch.stack(alone), atol=0.01, rtol=0)
