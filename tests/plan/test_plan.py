"""A plan answers what the result will be before anything computes, and one or more roles are carried out as planned."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.errors import FaceNotFoundError, MediaError, SettingsError
from liveportrait_v2v.media import Audio, Clip, Frames
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.settings import AnimationSettings, MotionOptions


def clip(
    count: int, rate: int | None = 25, tone: float | None = None, size: tuple[int, int] = (64, 48)
) -> Clip:
    audio = None
    if tone is not None:
        times = torch.arange(int(8000 * count / rate)) / 8000
        audio = Audio(torch.sin(2 * torch.pi * tone * times).unsqueeze(0), 8000)
    images = torch.zeros(count, size[1], size[0], 3, dtype=torch.uint8)
    return Clip(Frames(images, None if rate is None else Fraction(rate), audio))


def settings(**values) -> AnimationSettings:
    return AnimationSettings(**{"video_frame_load_cap": 0, **values})


def test_a_plan_answers_length_rate_and_size():
    plan = make_plan(clip(20, 24, size=(64, 48)), Role(clip(12, 30), settings()))
    assert (plan.frame_count, plan.rate, plan.size) == (10, 24, (64, 48))


def test_a_plan_has_the_audio_of_the_result():
    plan = make_plan(clip(20, 25, 440), Role(clip(10, 25), settings()))
    assert plan.audio_source == "source"
    assert plan.audio.read().samples.shape == (1, 3200)
    silent = make_plan(clip(20, 25, 440), Role(clip(10, 25), settings(driving_audio=True)))
    assert (silent.audio, silent.audio_source) == (None, None)


@pytest.mark.parametrize(
    ("size", "chunk"),
    [((640, 360), 8), ((3840, 2160), 8), ((4096, 2304), 8), ((4000, 3000), 1), ((8192, 8100), 1)],
)
@pytest.mark.parametrize("large", ["source", "driving"])
def test_frames_larger_than_4k_come_one_by_one(size, chunk, large):
    pixel = torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
    clips = {name: clip(4) for name in ("source", "driving")}
    clips[large] = Clip(Frames(pixel.expand(4, size[1], size[0], 3), Fraction(25)))
    assert make_plan(clips["source"], Role(clips["driving"])).chunk == chunk


def test_a_still_has_the_driving_clip_s_audio_unless_still_audio_is_off():
    still, driving = clip(1, None), clip(10, 25, 440)
    plan = make_plan(still, Role(driving, settings()))
    assert (plan.audio_source, plan.audio.read().samples.shape) == ("driving", (1, 3200))
    silent = make_plan(still, Role(driving, settings(), MotionOptions(still_audio=False)))
    assert (silent.audio, silent.audio_source) == (None, None)
    chosen = make_plan(still, Role(driving, settings(driving_audio=True), MotionOptions(still_audio=False)))
    assert chosen.audio_source == "driving"


def test_a_path_is_opened(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        make_plan(tmp_path / "bad.mp4", Role(clip(10)))


@pytest.mark.parametrize(("method", "frames"), [("cut", 8), ("circle", 30), ("none", 30)])
def test_several_roles_are_as_long_as_the_shortest_or_the_longest_clip(method, frames):
    roles = [
        Role(clip(count), settings(mismatch_method=method), source_face=k) for k, count in enumerate((30, 8))
    ]
    plan = make_plan(clip(20), roles)
    assert plan.frame_count == frames
    assert {pairing.frames for pairing in plan.pairings} == {frames}


def test_driving_clips_of_a_still_share_the_first_ones_rate():
    roles = [Role(clip(30, 30), settings()), Role(clip(60, 60), settings(), source_face=1)]
    plan = make_plan(clip(1, None), roles)
    assert {pairing.rate for pairing in plan.pairings} == {30}
    assert [pairing.driving_step for pairing in plan.pairings] == [1, 2]


def test_each_role_keeps_its_own_way_of_pairing():
    roles = [
        Role(clip(30, 50), settings(), MotionOptions(pairing=pairing), source_face=k)
        for k, pairing in enumerate(("time", "frame"))
    ]
    assert [pairing.driving_step for pairing in make_plan(clip(20), roles).pairings] == [2, 1]


def test_a_role_takes_the_faces_that_its_settings_number():
    role = Role(clip(5), settings(input_face_index=2, drive_face_index=1))
    assert role.source_faces == (2,)
    assert role.settings.drive_face_index == 1


def test_a_role_s_own_numbers_override_those_of_its_settings():
    role = Role(clip(5), settings(input_face_index=2, drive_face_index=1), source_face=0, drive_face=3)
    assert role.source_faces == (0,)
    assert (role.settings.input_face_index, role.settings.drive_face_index) == (0, 3)


def test_a_role_for_all_faces_has_every_number():
    assert Role(clip(5), source_face="all").source_faces == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"source_face": 6}, 'source_face must be a whole number from 0 to 5, got 6; "all" takes every face'),
        ({"source_face": "every"}, "source_face must be .*, got 'every'"),
        ({"drive_face": -1}, "drive_face must be a whole number from 0 to 5, got -1"),
        ({"drive_face": "all"}, "drive_face must be .*, got 'all'"),
    ],
)
def test_a_face_s_number_out_of_range_is_refused(numbers, message):
    with pytest.raises(SettingsError, match=message):
        Role(clip(5), **numbers)


@pytest.mark.parametrize(
    ("first", "second", "number", "remedy"),
    [(1, 1, 1, "of its own$"), ("all", 2, 2, 'or leave "all"'), (0, "all", 0, 'or leave "all"')],
)
def test_two_roles_on_the_same_face_are_refused_by_their_names(first, second, number, remedy):
    roles = [Role(clip(5), source_face=face) for face in (first, second)]
    with pytest.raises(
        SettingsError, match=rf"^role 2 \(images\): face {number} .* by role 1 \(images\) .*{remedy}"
    ):
        make_plan(clip(5), roles)


def test_a_plan_without_a_role_is_refused():
    with pytest.raises(SettingsError, match="a run needs one role at least, got none"):
        make_plan(clip(5), [])


@pytest.mark.parametrize("kind", [SettingsError, FaceNotFoundError])
def test_an_error_of_one_of_several_roles_begins_with_its_name(kind):
    plan = make_plan(clip(5), [Role(clip(5), source_face=k) for k in (0, 1)])
    with pytest.raises(kind, match=r"^role 2 \(images\): no"), plan.naming(1):
        raise kind("no")


def test_an_error_of_the_only_role_is_unchanged():
    with pytest.raises(SettingsError, match=r"^no$"), make_plan(clip(5), Role(clip(5))).naming(0):
        raise SettingsError("no")
