"""A look at both clips before a run: whether they show the faces that it needs."""

from __future__ import annotations

import pytest

from liveportrait_v2v.errors import Cancelled, FaceNotFoundError
from liveportrait_v2v.media import Clip
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.run import first_look
from liveportrait_v2v.settings import AnimationSettings


def plan(source, driving, **values):
    return make_plan(source, Role(Clip(driving), AnimationSettings(**values)))


def test_clips_that_show_their_faces_at_once_are_looked_at_once(make):
    looks: list[str] = []
    assert first_look(plan(Clip(make(40, 25)), make(20, 25)), on_progress=looks.append) == ()
    assert looks == ["source", "driving"]


def test_a_number_that_nobody_has_is_an_error_with_the_number_of_faces(make, make_two):
    message = (
        "face 2 was found nowhere in the frames read of the source clip, but 2 faces, numbered from 0: .*, then set "
        "input_face_index"
    )
    with pytest.raises(FaceNotFoundError, match=message):
        first_look(plan(make_two(20, 25), make(20, 25), input_face_index=2))
    with pytest.raises(FaceNotFoundError, match=r"driving clip, but 1 face, number 0: .*drive_face_index"):
        first_look(plan(make_two(20, 25), make(20, 25), drive_face_index=1))


def test_a_clip_without_any_face_is_an_error_that_says_what_is_needed(make):
    grey = make(20, 25, None, range(20))
    with pytest.raises(
        FaceNotFoundError, match="no face was found in the frames read of the source clip; give a clip"
    ):
        first_look(plan(Clip(grey), make(20, 25)))


def test_a_face_that_comes_later_is_waited_for(make):
    late = make(30, 25, None, range(20))
    assert first_look(plan(Clip(late), make(40, 25))) == ()


def test_of_a_long_clip_only_the_first_frames_are_looked_at_and_that_is_said(make, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.run.look.LOOK_FRAMES", 16)
    late = make(30, 25, None, range(20))
    (note,) = first_look(plan(Clip(late), make(40, 25)))
    assert note == "the source clip shows no face in its first 16 frames, and input_face_index is 0"


def test_frames_that_the_run_does_not_read_are_not_looked_at(make):
    late = make(30, 25, None, range(20))
    with pytest.raises(FaceNotFoundError, match="in the first 10 of the 30 frames of the driving clip"):
        first_look(plan(Clip(make(40, 25)), late, video_frame_load_cap=10))


def test_a_look_can_be_stopped(make):
    with pytest.raises(Cancelled):
        first_look(plan(Clip(make(40, 25)), make(20, 25)), cancelled=lambda: True)
