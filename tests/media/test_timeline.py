"""Constant and variable rates, and which frames the options choose."""

from fractions import Fraction

import numpy as np
import pytest

from liveportrait_v2v.errors import MediaError, SettingsError
from liveportrait_v2v.media.timeline import make_timeline, make_window, select_frames

MS = Fraction(1, 1000)


def window(ticks, tick=MS, last=0, rates=(), start=Fraction(0), duration=None, **options):
    timeline = make_timeline(np.array(ticks), tick, last, rates, **options)
    return make_window("clip", timeline, start, duration)


def constant(count=10, rate=Fraction(10), **options):
    return window(range(count), 1 / rate, 1, (rate,), **options)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 60, Fraction(2997, 100)])
def test_timestamps_rounded_to_milliseconds_are_still_the_constant_rate_that_the_file_claims(rate):
    ticks = np.array([round(k * 1000 / rate) for k in range(500)])
    timeline = make_timeline(ticks, MS, round(1000 / rate), (rate,))
    assert timeline.constant
    assert timeline.rate == rate


def test_milliseconds_with_no_claimed_rate_give_the_usual_rate_that_explains_them():
    ticks = np.array([round(k * 1001 / 30) for k in range(2000)])
    assert make_timeline(ticks, MS, 33).rate == Fraction(30000, 1001)


def test_a_short_last_frame_does_not_change_the_rate():
    # The average of such a file, 20 frames in 19.2 / 25 s, is not its rate.
    average = Fraction(20 * 25) / Fraction("19.2")
    timeline = make_timeline(np.arange(20) * 512, Fraction(1, 12800), 100, (average, Fraction(25)))
    assert timeline.constant
    assert timeline.rate == 25


def test_a_cameras_jitter_neither_doubles_nor_drops_a_frame():
    jitter = np.random.default_rng(0).integers(-5, 6, 200)
    timeline = make_timeline(np.arange(200) * 33 + np.arange(200) // 3 + jitter, MS, 33, (Fraction(30),))
    assert timeline.constant
    assert timeline.rate == 30


def test_a_clip_that_lost_a_few_frames_keeps_its_rate_and_holds_the_frame_before_a_gap():
    kept = [k for k in range(100) if k not in (50, 51)]
    lossy = window([k * 40 for k in kept], last=40, rates=(Fraction(25),))
    shown = [kept[frame] for frame in select_frames("clip", lossy).frames]
    assert lossy.rate == 25
    assert shown == [k if k not in (50, 51) else 49 for k in range(100)]


def test_uneven_frames_have_the_average_rate_and_each_is_shown_at_its_time():
    clip = window([0, 100, 133, 400, 900], last=100)
    times = [k / clip.rate for k in range(clip.count)]
    assert clip.rate == 5
    assert clip.count == 5
    assert [float(t) for t in times] == [0, 0.2, 0.4, 0.6, 0.8]
    assert select_frames("clip", clip).frames.tolist() == [0, 2, 3, 3, 3]


def test_a_long_last_frame_counts_with_its_full_duration():
    clip = window([0, 100, 200], last=800)
    assert clip.duration == 1


def test_exact_times_of_an_animation_are_not_smoothed():
    assert not make_timeline(np.array([0, 100, 400]), MS, 100, exact=True).constant
    assert not make_timeline(np.array([0, 100, 200]), MS, 150, exact=True).constant
    assert make_timeline(np.array([0, 41, 83, 125]), MS, 42, exact=True).rate == 24


def test_a_single_frame_has_the_rate_that_its_file_claims():
    assert window([0], last=40, rates=(Fraction(30),)).duration == Fraction(1, 30)


def test_without_options_the_frames_of_a_constant_clip_are_unchanged():
    selection = select_frames("clip", constant())
    assert selection.frames.tolist() == list(range(10))
    assert selection.rate == 10
    assert selection.offset == 0


def test_skip_then_every_nth_then_rate_then_cap():
    selection = select_frames("clip", constant(20), skip=3, every_nth=2, rate=Fraction(10), cap=7)
    assert selection.frames.tolist() == [3, 3, 5, 5, 7, 7, 9]
    assert selection.rate == 10
    assert selection.offset == Fraction(3, 10)


def test_every_nth_divides_the_rate():
    selection = select_frames("clip", constant(10), every_nth=3)
    assert selection.frames.tolist() == [0, 3, 6, 9]
    assert selection.rate == Fraction(10, 3)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(5, [0, 2, 4, 6, 8]), (20, [k // 2 for k in range(20)]), (8, [0, 1, 2, 3, 5, 6, 7, 8])],
)
def test_a_target_rate_shows_the_frame_on_screen_at_k_over_rate(rate, expected):
    assert select_frames("clip", constant(10), rate=Fraction(rate)).frames.tolist() == expected


def test_ntsc_rates_are_exact_over_hours():
    clip = constant(30000 * 60, Fraction(30000, 1001))
    selection = select_frames("clip", clip, rate=Fraction(30))
    assert len(selection.frames) == 1001 * 60 * 30
    assert selection.frames[1001 * 1799] == 1000 * 1799


def test_a_target_rate_samples_an_uneven_clip_by_its_timestamps():
    clip = window([0, 100, 133, 166, 400, 1000, 1010, 1500], last=500)
    selection = select_frames("clip", clip, rate=Fraction(10))
    expected = [0, 1, 3, 3, 4, 4, 4, 4, 4, 4, 5, 6, 6, 6, 6] + [7] * 5
    assert selection.frames.tolist() == expected


def test_a_timestamp_rounded_up_by_half_a_millisecond_still_shows_its_frame():
    clip = window([0, 33, 67, 500, 533], last=33)
    assert select_frames("clip", clip, rate=Fraction(30)).frames[:3].tolist() == [0, 1, 2]


def test_a_trim_window_leaves_the_frames_that_begin_inside_it():
    trimmed = constant(10, start=Fraction(1, 4), duration=Fraction(1, 2))
    assert select_frames("clip", trimmed).frames.tolist() == [3, 4, 5, 6, 7]
    assert trimmed.origin == Fraction(3, 10)


def test_a_trim_window_given_in_rounded_seconds_keeps_its_first_frame():
    trimmed = constant(90, Fraction(30), start=Fraction("0.333333"), duration=Fraction("0.1"))
    assert select_frames("clip", trimmed).frames.tolist() == [10, 11, 12]
    assert constant(90, Fraction(30), start=Fraction("0.335")).first == 11


def test_a_trim_window_of_an_uneven_clip_starts_with_the_frame_on_screen():
    clip = window([0, 1000, 1100, 1200, 1900], last=100, start=Fraction(1, 2), duration=Fraction(1))
    frames = select_frames("clip", clip, rate=Fraction(10)).frames.tolist()
    assert frames == [0, 0, 0, 0, 0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(("start", "duration"), [(2, None), (-1, None), (0, 0), (0, -1)])
def test_a_trim_window_with_nothing_in_it_is_an_error(start, duration):
    with pytest.raises(MediaError, match="trim window"):
        constant(10, start=Fraction(start), duration=None if duration is None else Fraction(duration))


@pytest.mark.parametrize("options", [{"skip": -1}, {"cap": -1}, {"every_nth": 0}, {"rate": Fraction(0)}])
def test_options_out_of_range_are_errors(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        select_frames("clip", constant(), **options)


def test_skipping_everything_is_an_error_that_gives_the_number_of_frames():
    with pytest.raises(MediaError, match="10 frames"):
        select_frames("clip", constant(10), skip=10)


def test_a_last_frame_of_double_length_is_held_and_the_rate_kept():
    clip = window([k * 40 for k in range(50)], last=80, rates=(Fraction(25),))
    assert clip.rate == 25
    assert select_frames("clip", clip).frames.tolist() == [*range(50), 49]


def test_absurd_timestamps_do_not_fill_the_memory():
    clip = window([0, 100, 10**12], last=100)
    assert len(select_frames("clip", clip).frames) == 3
    with pytest.raises(MediaError, match="too many frames"):
        select_frames("clip", clip, rate=Fraction(30))
    assert len(select_frames("clip", clip, rate=Fraction(30), cap=5).frames) == 5
