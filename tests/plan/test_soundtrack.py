"""The audio of a plan: which clip's, how long, and what is noted of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.media import Audio, Clip, Frames
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.settings import AnimationSettings


def clip(count: int = 25, samples: list[float] | None = None, notes: tuple[str, ...] = ()) -> Clip:
    images = torch.zeros(count, 4, 6, 3, dtype=torch.uint8)
    audio = None if samples is None else Audio(torch.tensor([samples]), len(samples) * 25 // count)
    return Clip(Frames(images, Fraction(25), audio, notes))


def plan_of(source: Clip, driving: Clip, **settings):
    return make_plan(source, Role(driving, AnimationSettings(**{"video_frame_load_cap": 0, **settings})))


@pytest.mark.parametrize(
    ("method", "heard"),
    [
        ("circle", [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]),
        ("none", [1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0]),
        ("cut", [1, 2, 3, 4, 5]),
    ],
)
def test_audio_repeats_with_its_clip_and_is_silent_where_the_last_frame_is_held(method, heard):
    plan = plan_of(clip(25, [1, 2, 3, 4, 5]), clip(60), mismatch_method=method)
    assert plan.audio.read().samples.tolist() == [heard]


def test_an_hour_of_held_frames_is_no_samples_but_a_length():
    plan = plan_of(clip(25, [1, 2, 3, 4, 5]), clip(25 * 3600), mismatch_method="none")
    assert plan.audio.count == 5 * 3600
    assert [(at, block.tolist()) for at, block in plan.audio.blocks()] == [(0, [[1, 2, 3, 4, 5]])]


@pytest.mark.parametrize("driving_audio", [False, True])
def test_notes_are_those_of_the_clip_that_is_heard(driving_audio):
    source, driving = clip(25, [1.0] * 5, ("has a squeak",)), clip(25, [1.0] * 5, ("has a hum",))
    plan = plan_of(source, driving, driving_audio=driving_audio)
    assert plan.notes == (
        ("the driving clip has a hum",) if driving_audio else ("the source clip has a squeak",)
    )


def test_audio_that_is_left_out_is_noted_and_the_result_claims_none():
    plan = plan_of(clip(25, None, ("has audio that can't be read (gone); it is left out",)), clip())
    assert (plan.audio, plan.audio_source) == (None, None)
    assert plan.notes == ("the source clip has audio that can't be read (gone); it is left out",)
