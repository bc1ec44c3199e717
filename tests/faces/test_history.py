"""What became of a number, in words."""

from __future__ import annotations

import pytest
import torch

from liveportrait_v2v.faces.history import FaceHistory


def history(scenes: list[int | None], chunk: int = 4) -> FaceHistory:
    """Return the history of face 2, in these scenes or, for None, absent, at 10, 20 to 110, 140 pixels."""
    made = FaceHistory(2)
    landmarks = torch.zeros(len(scenes), 478, 3)
    landmarks[:, 0, :2], landmarks[:, 1:, :2] = torch.tensor([10.0, 20.0]), torch.tensor([110.0, 140.0])
    present = torch.tensor([scene is not None for scene in scenes])
    numbers = torch.tensor([scene or 0 for scene in scenes])
    for k in range(0, len(scenes), chunk):
        part = slice(k, k + chunk)
        made.add(k, landmarks[part], present[part], numbers[part])
    return made


def test_the_first_sight_has_number_place_and_size_in_the_first_frame_that_shows_the_face():
    first = history([None, None, 0, 0]).first
    assert str(first) == "face 2: 100x120 pixels at 10, 20 in frame 2"
    assert first.to_dict() == {"number": 2, "frame": 2, "box": [10.0, 20.0, 110.0, 140.0]}


def test_points_of_an_engine_do_not_count_for_the_first_sight():
    made, landmarks = FaceHistory(0), torch.full((1, 681, 3), 50.0)
    landmarks[:, 478:] = 900
    made.add(0, landmarks, torch.tensor([True]), torch.tensor([0]))
    assert made.first.box == (50, 50, 50, 50)


def test_a_face_that_is_there_all_the_time_needs_no_note():
    assert history([0] * 10).notes("source") == ()


def test_a_face_that_comes_later_or_never_needs_no_note():
    assert history([None] * 5 + [0] * 5).notes("source") == ()
    assert history([None] * 5).notes("source") == ()


def test_covered_mouths_are_noted_with_the_frames():
    taken = history([0] * 12)
    taken.add_covered([1])
    taken.add_covered([2, 3])
    taken.add_covered([])
    taken.add_covered([7])
    taken.add_covered([1, 2])  # in a second pass
    assert taken.notes("source") == (
        "source face 2 has something before the mouth, which stays as it is, in frame 1-3, 7",
    )


def test_eyes_that_stay_shut_are_noted_with_the_frames():
    taken = history([0] * 12)
    taken.add_shut([0, 1, 2])
    assert taken.notes("source") == (
        "source face 2 has eyes that stay shut, as no open ones were seen before, in frame 0-2",
    )


def test_a_picture_with_a_covered_mouth_has_it_once():
    taken = history([0])
    taken.add_covered([0, 0, 0])
    assert taken.notes("source") == (
        "source face 2 has something before the mouth, which stays as it is, in frame 0",
    )


def test_a_face_that_is_lost_is_noted_with_the_frames():
    assert history([0, 0, None, 0, None, None, 0]).notes("source") == (
        "source face 2 is lost in frame 2, 4-5",
    )
    assert history([0, 0, None, None]).notes("driving") == ("driving face 2 is lost in frame 2-3",)


def test_a_cut_is_noted_with_its_frame():
    assert history([0, 0, 0, 1, 1]).notes() == ("face 2 may be another person after the cut at frame 3",)


def test_many_events_are_counted():
    scenes = [k // 2 for k in range(12)]
    (note,) = history(scenes).notes()
    assert note == "face 2 may be another person after the cut at frame 2, 4, 6 and 2 more"


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_the_chunks_make_no_difference(chunk):
    scenes = [0, 0, None, None, 0, 1, 1, None]
    assert history(scenes, chunk).notes() == history(scenes).notes()


def test_a_second_pass_through_the_clip_adds_nothing():
    made = history([0, 0, None, 0])
    notes = made.notes()
    made.add(0, torch.zeros(4, 478, 3), torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    assert made.notes() == notes
