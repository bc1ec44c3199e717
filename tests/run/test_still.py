"""One face, drawn as quickly as a slider moves: the same pixels as a run's, and each time anew."""

from __future__ import annotations

import pytest
import torch

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.errors import FaceNotFoundError
from liveportrait_v2v.expression import Expression
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.run.still import QuickEditor, StillFace

SMILE, TURN = Expression.constant(smile=1), Expression.constant(rotate_yaw=12, blink=-10)


@pytest.fixture(scope="module")
def still(clips):
    return StillFace.of(Clip(clips["astronaut"]))


def test_the_face_is_cut_out_no_larger_than_512_pixels(still):
    assert max(still.chunk.frames.shape[1:3]) <= 512
    points = still.chunk.landmarks[0, :, :2]
    assert points.min() > 0
    assert (points.amax(0) < torch.tensor(still.chunk.frames.shape[2:0:-1])).all()


def test_pictures_depend_on_their_expression_alone_and_are_those_of_a_run(still):
    editor = QuickEditor(still)
    drawn = {name: editor.edited(value) for name, value in (("smile", SMILE), ("turn", TURN))}
    assert torch.equal(editor.edited(SMILE), drawn["smile"])
    assert not torch.equal(drawn["smile"], drawn["turn"])
    for value, picture in ((SMILE, drawn["smile"]), (TURN, drawn["turn"])):
        assert torch.equal(still.edited(create_engine("draft"), value), picture)


def test_an_expression_that_edits_nothing_leaves_every_pixel(still):
    editor = QuickEditor(still)
    editor.edited(SMILE)
    assert torch.equal(editor.edited(Expression.constant(smile=0, zoom=1)), still.chunk.frames[0])


def test_a_moment_of_a_clip_is_the_first_frame_from_there_that_shows_the_face(clips):
    clip = Clip(clips["single_face"])
    assert StillFace.of(clip).number == 0
    assert StillFace.of(clip, seconds=0.5).number == int(clip.info.rate / 2)
    frames = next(clip.chunks(6)).frames
    late = torch.cat((torch.zeros_like(frames[:3]), frames[:3])).float() / 255
    assert StillFace.of(Clip(Frames(late, clip.info.rate))).number == 3


def test_the_keyframes_of_a_moment_are_drawn(still):
    editor = QuickEditor(still)
    keyed = Expression.keyed({0: {"smile": 0}, 1: {"smile": 1}})
    assert torch.equal(editor.edited(keyed, 1), editor.edited(SMILE))
    assert torch.equal(editor.edited(keyed, 0), still.chunk.frames[0])


def test_a_face_that_no_frame_shows_is_an_error_with_the_number_of_faces(clips):
    with pytest.raises(FaceNotFoundError, match=r"face 2 was found nowhere .* 1 face, number 0"):
        StillFace.of(Clip(clips["astronaut"]), 2)
