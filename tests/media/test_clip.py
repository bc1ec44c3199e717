"""Frames of a video file: selection, times and size."""

import io
import os
import threading
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from make_clips import count_up, encode, number_of, numbered, numbers_of

from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.media import Clip


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    """100 numbered frames at 25 a second, a key frame every 12, with B-frames."""
    path = tmp_path_factory.mktemp("clips") / "numbered.mp4"
    return encode(path, count_up(100), options={"g": "12", "bf": "2"})


def test_probing_gives_size_rate_duration_and_frame_count(clip_path):
    info = Clip(clip_path).info
    assert (info.width, info.height) == (144, 96)
    assert info.rate == 25
    assert info.frame_count == 100
    assert info.duration == 4
    assert info.audio is None
    assert not info.is_still


def test_chunks_have_the_requested_number_of_frames_and_consecutive_indices(clip_path):
    chunks = list(Clip(clip_path).chunks(32))
    assert [len(chunk.frames) for chunk in chunks] == [32, 32, 32, 4]
    assert [chunk.index for chunk in chunks] == [0, 32, 64, 96]
    assert numbers_of(chunks) == list(range(100))


def test_frames_are_uint8_rgb_with_exact_times(clip_path):
    chunk = next(Clip(clip_path).chunks(8))
    assert chunk.frames.dtype == torch.uint8
    assert chunk.frames.shape == (8, 96, 144, 3)
    assert chunk.times == [Fraction(k, 25) for k in range(8)]


def test_a_chunk_may_be_changed_by_its_receiver(clip_path):
    chunks = Clip(clip_path).chunks(4)
    first = next(chunks)
    before = first.frames.clone()
    next(chunks)
    assert torch.equal(first.frames, before)


@pytest.mark.parametrize("pinned", [False, True])
def test_frames_are_decoded_into_page_locked_memory_where_asked_for(clip_path, monkeypatch, pinned):
    asked, empty = [], torch.empty

    def watched(*arguments, pin_memory=False, **options):
        asked.append(pin_memory)
        return empty(*arguments, **options)

    monkeypatch.setattr(torch, "empty", watched)
    chunks = list(Clip(clip_path).chunks(32, pinned=pinned))
    assert asked == [pinned] * 4
    assert numbers_of(chunks) == list(range(100))


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), 50, Fraction(749, 25)])
def test_the_frame_rate_is_exact(tmp_path, rate):
    info = Clip(encode(tmp_path / "a.mp4", count_up(10), rate=Fraction(rate))).info
    assert info.rate == rate
    assert info.duration * rate == 10


def test_skip_cap_and_every_nth_choose_frames(clip_path):
    clip = Clip(clip_path)
    chosen = list(clip.chunks(skip=10, every_nth=7, cap=5))
    assert numbers_of(chosen) == [10, 17, 24, 31, 38]
    assert chosen[0].times == [Fraction(10 + 7 * k, 25) for k in range(5)]
    assert clip.output_rate(every_nth=7) == Fraction(25, 7)
    assert clip.output_count(skip=10, every_nth=7, cap=5) == 5


def test_a_lower_and_a_higher_rate_take_the_frame_on_screen(clip_path):
    clip = Clip(clip_path)
    assert numbers_of(clip.chunks(rate=Fraction(10), cap=6)) == [0, 2, 5, 7, 10, 12]
    assert numbers_of(clip.chunks(rate=Fraction(50), cap=6)) == [0, 0, 1, 1, 2, 2]
    assert clip.output_rate(rate=Fraction(50)) == 50
    assert clip.output_count(rate=Fraction(50)) == 200


@pytest.mark.parametrize("rate", [None, Fraction(25), Fraction(24), Fraction(60)])
def test_the_announced_count_comes_out(clip_path, rate):
    clip = Clip(clip_path, start=0.4, duration=1.7)
    assert len(numbers_of(clip.chunks(rate=rate))) == clip.output_count(rate=rate)


def test_a_trim_window_gives_its_frames_with_times_from_its_start(clip_path):
    clip = Clip(clip_path, start=Fraction(2), duration=Fraction(1, 2))
    chunks = list(clip.chunks(32))
    assert numbers_of(chunks) == list(range(50, 63))
    assert chunks[0].times[0] == 0
    assert chunks[0].times[-1] == Fraction(12, 25)
    assert clip.info.frame_count == 13
    assert clip.info.duration == Fraction(13, 25)


@pytest.mark.parametrize("start", [0, 0.04, 0.44, 0.48, 0.52, 1.92, 3.96])
def test_a_trim_window_may_start_anywhere_between_key_frames(clip_path, start):
    assert numbers_of(Clip(clip_path, start=start).chunks(cap=1)) == [round(start * 25)]


@pytest.mark.parametrize("every_nth", [1, 30])
def test_skipping_far_ahead_arrives_at_the_right_frame(clip_path, every_nth):
    assert numbers_of(Clip(clip_path).chunks(skip=61, every_nth=every_nth, cap=2)) == [61, 61 + every_nth]


def test_the_longest_side_is_scaled_down_and_never_up(clip_path):
    clip = Clip(clip_path)
    small = next(clip.chunks(max_side=72)).frames
    assert small.shape[1:] == (48, 72, 3)
    assert clip.output_size(72) == (72, 48)
    assert [number_of(frame) for frame in small] == list(range(8))
    assert next(clip.chunks(max_side=1000)).frames.shape[1:] == (96, 144, 3)


def test_odd_sizes_are_kept(tmp_path):
    path = encode(tmp_path / "odd.mkv", count_up(3, width=145, height=97), codec="ffv1", pix_fmt="yuv444p")
    clip = Clip(path)
    assert (clip.info.width, clip.info.height) == (145, 97)
    last = next(iter(clip.chunks())).frames[2].numpy()
    assert abs(last.astype(int) - numbered(2, 145, 97)).max() < 6


def test_odd_sizes_of_subsampled_video_are_kept(tmp_path):
    path = encode(tmp_path / "odd.webm", count_up(3, width=145, height=97), codec="libvpx-vp9")
    assert next(Clip(path).chunks()).frames.shape == (3, 97, 145, 3)


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(16, 11), (210, 96)), (Fraction(1, 2), (144, 192))])
def test_pixels_that_are_not_square_are_stretched_along_the_shorter_side(tmp_path, aspect, size):
    clip = Clip(encode(tmp_path / "wide.mp4", count_up(3), aspect=aspect))
    assert (clip.info.width, clip.info.height) == size
    assert next(clip.chunks()).frames.shape[1:] == (size[1], size[0], 3)
    assert numbers_of(clip.chunks()) == [0, 1, 2]


def test_a_file_object_can_be_read_again_and_again_even_after_it_is_closed(clip_path):
    file = io.BytesIO(clip_path.read_bytes())
    file.seek(100)
    clip = Clip(file)
    file.close()
    assert numbers_of(clip.chunks(cap=5)) == numbers_of(clip.chunks(cap=5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("as_object", [False, True])
def test_two_threads_can_decode_the_same_clip(clip_path, as_object):
    clip = Clip(io.BytesIO(clip_path.read_bytes()) if as_object else clip_path)
    results = {}

    def run(key, skip):
        results[key] = numbers_of(clip.chunks(3, skip=skip))

    threads = [threading.Thread(target=run, args=(skip, skip)) for skip in (0, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: list(range(100)), 40: list(range(40, 100))}


def test_interleaved_generators_do_not_disturb_each_other(clip_path):
    clip = Clip(clip_path)
    pairs = zip(clip.chunks(5), clip.chunks(5, skip=5), strict=False)
    assert all(numbers_of([late]) == [n + 5 for n in numbers_of([early])] for early, late in pairs)


def test_a_generator_that_is_closed_early_closes_the_file(clip_path):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")

    def open_files():
        return sum(os.path.realpath(link) == str(clip_path.resolve()) for link in folder.iterdir())

    chunks = Clip(clip_path).chunks(1)
    next(chunks)
    assert open_files() == 1
    chunks.close()
    assert open_files() == 0


@pytest.mark.parametrize("options", [{"size": 0}, {"max_side": -1}, {"every_nth": 0}, {"skip": -1}])
def test_wrong_options_are_errors_before_anything_is_decoded(clip_path, options):
    with pytest.raises(SettingsError):
        Clip(clip_path).chunks(**options)
