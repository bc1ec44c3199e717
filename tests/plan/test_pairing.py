"""Lengths and times of the result for every mismatch method, unequal rates and stills."""

from __future__ import annotations

from fractions import Fraction

import pytest

from liveportrait_v2v.media import ClipInfo
from liveportrait_v2v.plan.pairing import pair
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

STILL = ClipInfo(64, 64, None, None, 1, True, None)


def clip(frames: int, rate: int | Fraction) -> ClipInfo:
    return ClipInfo(64, 64, Fraction(rate), frames / Fraction(rate), frames, False, None)


def paired(source, driving, method="cut", cap=0, pairing="time"):
    settings = AnimationSettings(mismatch_method=method, video_frame_load_cap=cap)
    return pair(source, driving, settings, MotionOptions(pairing=pairing))


def shown(p) -> list[tuple[int, float]]:
    """Source frame and driving place of each frame of the result."""
    return [(p.source_at(k)[1], float(p.driving_at(k)[1])) for k in range(p.frames)]


def test_equal_clips_go_frame_by_frame():
    assert shown(paired(clip(4, 25), clip(4, 25))) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_the_result_has_the_sources_rate():
    assert paired(clip(10, Fraction(24000, 1001)), clip(10, 30)).rate == Fraction(24000, 1001)


def test_a_driving_clip_of_twice_the_rate_is_met_at_every_second_frame():
    assert shown(paired(clip(4, 25), clip(8, 50))) == [(0, 0), (1, 2), (2, 4), (3, 6)]


def test_a_driving_clip_of_half_the_rate_is_met_between_its_frames_too():
    assert shown(paired(clip(4, 50), clip(2, 25))) == [(0, 0), (1, 0.5), (2, 1), (3, 1)]


def test_times_do_not_drift_over_an_hour():
    p = paired(clip(108_000, 30), clip(107_892, Fraction(30000, 1001)))
    _, place = p.driving_at(107_000)
    assert place == Fraction(107_000, 30) * Fraction(30000, 1001)


def test_frame_pairing_ignores_the_rates():
    assert shown(paired(clip(3, 25), clip(8, 50), pairing="frame")) == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(("source", "driving"), [(3, 5), (5, 3)])
def test_cut_ends_with_the_shorter_clip(source, driving):
    assert paired(clip(source, 25), clip(driving, 25)).frames == 3


def test_cut_counts_time_and_not_frames():
    assert paired(clip(100, 25), clip(60, 30)).frames == 50


def test_circle_repeats_a_shorter_driving_clip_from_its_start():
    assert shown(paired(clip(5, 25), clip(2, 25), "circle")) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]


def test_circle_repeats_a_shorter_source_from_its_start():
    p = paired(clip(2, 25), clip(5, 25), "circle")
    assert shown(p) == [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]
    assert [p.source_at(k)[0] for k in range(5)] == [0, 0, 1, 1, 2]


def test_circle_with_unequal_rates_starts_again_in_time():
    p = paired(clip(6, 30), clip(2, 20), "circle")
    assert [place for _, place in shown(p)] == pytest.approx([0, 2 / 3, 4 / 3, 0, 2 / 3, 4 / 3])


def test_none_holds_the_last_driving_frame():
    assert shown(paired(clip(4, 25), clip(2, 25), "none")) == [(0, 0), (1, 1), (2, 1), (3, 1)]


def test_none_holds_the_last_source_frame():
    assert shown(paired(clip(2, 25), clip(4, 25), "none")) == [(0, 0), (1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(("cap", "frames"), [(0, 9), (4, 4), (20, 9)])
def test_the_cap_counts_driving_frames_and_zero_means_all(cap, frames):
    assert paired(clip(20, 25), clip(9, 25), cap=cap).frames == frames


@pytest.mark.parametrize(
    ("source", "driving", "method", "frames"),
    [
        (clip(5, 25), clip(9, 25), "cut", 5),
        (clip(5, 25), clip(20, 50), "cut", 9),  # the last one leads the moment of frame 8
        (clip(5, 30), clip(9, 25), "cut", 5),  # between frames 3 and 4
        (clip(5, 25), clip(9, 25), "none", 9),
        (clip(5, 25), clip(9, 25), "circle", 9),
        (clip(9, 25), clip(5, 25), "circle", 5),
        (clip(9, 25), clip(5, 25), "none", 5),
        (STILL, clip(9, 25), "cut", 9),
        (clip(9, 25), STILL, "cut", 0),
    ],
)
def test_no_more_driving_frames_lead_than_the_result_shows(source, driving, method, frames):
    assert paired(source, driving, method).led_frames == frames


def test_circle_repeats_what_the_cap_left():
    assert [place for _, place in shown(paired(clip(5, 25), clip(9, 25), "circle", cap=2))] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("method", ["cut", "circle", "none"])
def test_a_still_source_takes_the_driving_clips_rate_and_length(method):
    p = paired(STILL, clip(7, 30), method)
    assert (p.rate, p.frames) == (30, 7)
    assert shown(p) == [(0, k) for k in range(7)]


@pytest.mark.parametrize("method", ["cut", "circle", "none"])
def test_a_driving_still_lasts_as_long_as_the_source(method):
    p = paired(clip(7, 30), STILL, method)
    assert (p.rate, p.frames) == (30, 7)
    assert shown(p) == [(k, 0) for k in range(7)]


def test_two_stills_give_one_frame():
    assert paired(STILL, STILL).frames == 1
