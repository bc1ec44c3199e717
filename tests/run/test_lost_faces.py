"""Faces that come and go in a run: what is bridged, faded, passed on, counted and noted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recording_engine import SIZE, Recorder, run

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.errors import FaceNotFoundError
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow


class White(Recorder):
    """Gives white frames."""

    def render(self, chunk, driving, masks=False):
        rendered = super().render(chunk, driving, masks)
        return replace(rendered, frames=torch.full_like(rendered.frames, 255))


UNBRIDGED = pytest.mark.parametrize(
    "without", [range(0, 4), range(7, 15), range(16, 20)], ids=["start", "middle", "end"]
)
"""Gaps that are longer than 0.2 s, or not between two frames with a face."""


@UNBRIDGED
def test_frames_without_the_source_face_pass_unchanged_and_shift_nothing(make, without):
    source = make(20, 25, without=without)
    result, frames, _ = run(source, make(20, 25), create_engine("draft"))
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    assert result.frames_without_source_face == len(without)
    assert result.frames == 20
    same = {k for k in range(20) if torch.equal(frames[k], decoded[k])}
    assert set(without) <= same
    assert len(same) < 20


@UNBRIDGED
def test_frames_without_the_driving_face_show_the_source_and_shift_nothing(make, without):
    source = make(20, 25)
    result, frames, seen = run(source, make(20, 25, without=without), White())
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    absent = [k for k in range(20) if torch.equal(frames[k], decoded[k])]
    assert absent == list(without)
    assert result.frames_without_driving_face == len(absent)
    assert seen.driving == seen.sources == [k for k in range(20) if k not in without]


def test_a_short_gap_in_the_driving_face_is_bridged_and_counted(make):
    result, _, seen = run(make(20, 25), make(20, 25, without=range(8, 12)))
    assert seen.sources == list(range(20))
    assert seen.driving == pytest.approx(range(20))  # a recorder's motion is the number of the frame
    assert result.frames_without_driving_face == 4


def test_a_short_gap_in_the_source_face_is_bridged_and_counted(make):
    result, _, seen = run(make(20, 25, without=range(8, 12)), make(20, 25))
    assert seen.sources == list(range(20))
    assert result.frames_without_source_face == 4


def test_a_bridged_source_face_lies_between_its_neighbours(make):
    class Tracks(Recorder):
        def render(self, chunk, driving, masks=False):
            landmarks.extend(chunk.landmarks)
            return super().render(chunk, driving, masks)

    landmarks: list[torch.Tensor] = []
    run(make(20, 25, without=(9,)), make(20, 25), Tracks())
    torch.testing.assert_close(landmarks[9], (landmarks[8] + landmarks[10]) / 2)


def test_a_gap_at_the_end_of_a_lap_is_not_bridged_to_the_next(make):
    result, _, seen = run(make(18, 25), make(9, 25, without=(8,)), mismatch_method="circle")
    assert [k for k in range(18) if k not in seen.sources] == [8, 17]
    assert result.frames_without_driving_face == 2


def test_the_animation_fades_out_before_a_long_gap_and_in_after_it(make):
    source, got = make(20, 25), []
    settings = AnimationSettings(video_frame_load_cap=0)
    driving = make(20, 25, without=range(7, 15))
    animate(source, driving, engine=White(), settings=settings, sink=got.append, masks=True)
    masks = torch.cat([rendered.mask for rendered in got])[:, 0, 0]
    # 0.1 s are 2.5 frames.
    wanted = [1.0] * 5 + [0.8, 0.4] + [0.0] * 8 + [0.4, 0.8] + [1.0] * 3
    assert masks.tolist() == pytest.approx(wanted)
    own = torch.cat([chunk.frames for chunk in Clip(source).chunks()])[6].float()
    frames = torch.cat([rendered.frames for rendered in got])
    assert (frames[6] - (own + 0.4 * (255 - own))).abs().max() <= 0.51


@pytest.mark.parametrize("which", ["source", "driving"])
def test_a_clip_without_any_face_is_an_error_that_names_the_clip(make, tmp_path, which):
    clips = {"source": make(6, 25), "driving": make(6, 25), which: make(6, 25, without=range(6))}
    with pytest.raises(FaceNotFoundError, match=f"no face was found in the frames read of the {which} clip"):
        run(**clips, output=tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_face_number_that_nobody_has_is_an_error(make):
    with pytest.raises(FaceNotFoundError, match=r"face 3 .*input_face_index"):
        run(make(6, 25), make(6, 25), input_face_index=3)


def lost_in_source(seen: Recorder, count: int) -> str:
    """Return the span of the frames, of so many, that were not rendered."""
    lost = [k for k in range(count) if k not in seen.sources]
    assert lost == list(range(lost[0], lost[-1] + 1))
    return f"{lost[0]}-{lost[-1]}"


def test_the_result_has_the_faces_that_were_taken_and_where_they_were_lost(make):
    result, _, seen = run(make(20, 25, without=range(5, 13)), make(20, 25))
    source, driving = result.faces
    assert str(source).startswith("source face 0: ")
    assert (driving.clip, driving.first.number, driving.first.frame) == ("driving", 0, 0)
    _, top, _, bottom = source.first.box
    assert SIZE / 2 < bottom - top < SIZE
    assert result.notes == (f"source face 0 is lost in frame {lost_in_source(seen, 20)}",)
    assert result.to_dict()["faces"][0] == {"clip": "source", **source.first.to_dict()}


def test_a_loss_that_is_bridged_is_noted_as_well(make):
    result, _, _ = run(make(20, 25), make(20, 25, without=range(8, 10)))
    assert result.notes == ("driving face 0 is lost in frame 8-9",)


def test_what_circle_repeats_is_noted_once(make):
    result, _, seen = run(make(20, 25, without=range(5, 13)), make(30, 25), mismatch_method="circle")
    assert result.frames == 30
    assert result.notes == (f"source face 0 is lost in frame {lost_in_source(seen, 20)}",)


def test_a_clip_without_any_face_says_so_and_does_not_send_to_another_number(make):
    with pytest.raises(FaceNotFoundError) as caught:
        run(make(12, 25, without=range(12)), make(12, 25))
    assert str(caught.value) == (
        "no face was found in the frames read of the source clip; give a clip with a face that is turned to the "
        "camera, upright, and no smaller than about 40 pixels; or give its place to the liveportrait engine with "
        "--box"
    )


def test_a_face_that_comes_after_the_frames_that_are_read_is_missed_with_the_cap_as_remedy(make):
    driving = make(24, 25, without=range(16))
    with pytest.raises(FaceNotFoundError) as caught:
        run(make(24, 25), driving, video_frame_load_cap=12)
    assert str(caught.value) == (
        "no face was found in the first 12 of the 24 frames of the driving clip; raise video_frame_load_cap, now 12 "
        "(0 = all), or trim the clip so that it begins with the face"
    )
    result, _, _ = run(make(24, 25), driving)
    assert result.frames_without_driving_face == 16


def test_a_face_that_comes_after_the_end_of_the_result_is_missed_with_a_trim_as_remedy(make):
    with pytest.raises(
        FaceNotFoundError, match=r"the first 8 of the 24 frames of the source clip; trim the clip"
    ):
        run(make(24, 25, without=range(16)), make(8, 25), mismatch_method="cut")


def test_a_number_that_no_face_has_is_an_error_with_the_number_of_faces(make):
    with pytest.raises(
        FaceNotFoundError, match=r"face 3 was found nowhere .*, but 1 face, number 0: see the numbers"
    ):
        run(make(6, 25), make(6, 25), drive_face_index=3)
