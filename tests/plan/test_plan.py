"""A plan answers what the result will be before anything computes, and one or more roles are carried out as planned."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.errors import MediaError
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
    assert plan.audio.samples.shape == (1, 3200)
    silent = make_plan(clip(20, 25, 440), Role(clip(10, 25), settings(driving_audio=True)))
    assert (silent.audio, silent.audio_source) == (None, None)


def test_a_path_is_opened(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        make_plan(tmp_path / "bad.mp4", Role(clip(10)))


@pytest.mark.parametrize(("method", "frames"), [("cut", 8), ("circle", 30), ("none", 30)])
def test_several_roles_are_as_long_as_the_shortest_or_the_longest_clip(method, frames):
    roles = [Role(clip(count), settings(mismatch_method=method)) for count in (30, 8)]
    plan = make_plan(clip(20), roles)
    assert plan.frame_count == frames
    assert {pairing.frames for pairing in plan.pairings} == {frames}


def test_driving_clips_of_a_still_share_the_first_ones_rate():
    plan = make_plan(clip(1, None), [Role(clip(30, 30), settings()), Role(clip(60, 60), settings())])
    assert {pairing.rate for pairing in plan.pairings} == {30}
    assert [pairing.driving_step for pairing in plan.pairings] == [1, 2]


def test_each_role_keeps_its_own_way_of_pairing():
    roles = [Role(clip(30, 50), settings(), MotionOptions(pairing=pairing)) for pairing in ("time", "frame")]
    assert [pairing.driving_step for pairing in make_plan(clip(20), roles).pairings] == [2, 1]
