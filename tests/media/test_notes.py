"""What a clip says of itself where its frames do not come out as they are stored."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import count_up, damage_packets, encode, numbers_of

from liveportrait_v2v.media import Clip


def test_an_ordinary_clip_says_nothing(tmp_path):
    clip = Clip(encode(tmp_path / "a.mp4", count_up(6)))
    assert numbers_of(clip.chunks()) == list(range(6))
    assert (clip.info.notes, clip.damage) == ((), ())


def test_stretched_pixels_are_noted(tmp_path):
    clip = Clip(encode(tmp_path / "a.mp4", count_up(3), aspect=Fraction(4, 3)))
    assert clip.info.notes == (
        "has pixels that are not square; its frames of 144x96 are stretched to 192x96",
    )


def test_a_variable_rate_is_noted(tmp_path):
    times = [0, 40, 130, 150, 300, 310, 480, 600]
    clip = Clip(encode(tmp_path / "a.mkv", count_up(8), pts=times, time_base=Fraction(1, 1000)))
    (note,) = clip.info.notes
    assert note.startswith("has a variable frame rate; it is resampled to ")
    assert f"{float(clip.info.rate):.5g} frames a second" in note


def test_ten_bits_are_noted(tmp_path):
    frames = [np.full((64, 64, 3), 90, np.uint8)] * 2
    clip = Clip(encode(tmp_path / "a.mkv", frames, codec="libx265", pix_fmt="yuv420p10le"))
    assert clip.info.notes == ("has 10 bits a colour; they are rounded to 8",)


# Before 18, PyAV loses the frames that come out of the decoder in the call that fails.
LAST = "1 frame" if int(av.__version__.split(".")[0]) >= 18 else "2 frames"


@pytest.mark.parametrize(("damaged", "frames"), [([4], "1 frame"), ([0, 4, 5], "3 frames"), ([9], LAST)])
def test_frames_that_can_not_be_decoded_are_counted_once_they_are_read(tmp_path, damaged, frames):
    options = {"g": "1"}
    clip = Clip(damage_packets(encode(tmp_path / "a.mp4", count_up(10), options=options), damaged))
    assert clip.damage == ()
    for _ in range(2):
        assert len(numbers_of(clip.chunks())) == 10
        assert clip.damage == (f"has {frames} that can't be decoded; what is before is shown there",)


def test_damage_outside_of_what_is_read_does_not_count(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(10), options={"g": "1"})
    clip = Clip(damage_packets(path, [7]))
    list(clip.chunks(cap=5))
    assert clip.damage == ()
