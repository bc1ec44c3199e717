"""Where a face is not what it was on the frame before."""

from __future__ import annotations

import torch
from made_faces import landmarks

from liveportrait_v2v.faces.smoothing import Continuity
from liveportrait_v2v.tracking import TrackedChunk


def track(xs: list[int], scenes: list[int] | None = None) -> TrackedChunk:
    """Return a track of a face at these columns."""
    count = len(xs)
    marks = torch.stack([landmarks(at=(x, 120)) for x in xs])
    frames = torch.zeros(count, 2, 2, 3, dtype=torch.uint8)
    numbers = torch.tensor([0] * count if scenes is None else scenes)
    return TrackedChunk(frames, marks, torch.ones(count, dtype=torch.bool), scenes=numbers)


def begins(chunk: TrackedChunk) -> list[bool]:
    continuity = Continuity()
    return [continuity.begins(chunk, k) for k in range(len(chunk))]


def test_a_scene_begins_with_the_first_frame_and_where_the_face_is_at_another_place():
    assert begins(track([160, 165, 260])) == [True, False, True]


def test_a_scene_begins_behind_a_cut_that_the_tracker_saw_at_the_same_place():
    assert begins(track([160, 160, 160], scenes=[0, 1, 1])) == [True, True, False]


def test_behind_an_interruption_a_scene_begins():
    chunk, continuity = track([160, 160]), Continuity()
    continuity.begins(chunk, 0)
    continuity.interrupt()
    assert continuity.begins(chunk, 1)
