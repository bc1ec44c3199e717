"""Pictures of a camera as they arrive."""

from __future__ import annotations

import io
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from liveportrait_v2v.live.camera import (
    MAX_PICTURE_PIXELS,
    PLANES,
    LiveSource,
    PictureError,
    decoded,
    encoded,
)
from liveportrait_v2v.live.newest import Newest


def jpeg(level: int, size: tuple[int, int] = (32, 24)) -> bytes:
    return encoded(torch.full((size[1], size[0], 3), level, dtype=torch.uint8), 95)


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_pictures_that_nobody_took_the_newest_is_read_and_the_others_count_as_dropped():
    source = LiveSource()
    for index, level in enumerate((10, 90, 200)):
        source.put(jpeg(level), index)
    (chunk,) = source.chunks(cap=1)
    assert chunk.index == 2
    assert abs(int(chunk.frames.float().mean()) - 200) <= 1
    assert (source.received, source.dropped) == (3, 2)


def test_frames_carry_the_time_of_their_arrival_on_the_sources_clock():
    time = Time()
    source = LiveSource(time)
    times = []
    for moment in (100.5, 103.25):
        time.now = moment
        source.put(jpeg(0), 0)
        times += next(source.chunks(cap=1)).times
    assert times == [Fraction(1, 2), Fraction(13, 4)]
    assert source.seconds == 3.25


def test_a_chunk_is_one_frame_whatever_size_is_asked_for():
    source = LiveSource()
    source.put(jpeg(0), 7)
    chunk = next(source.chunks(8, cap=1))
    assert chunk.frames.shape == (1, 24, 32, 3)
    assert chunk.frames.dtype == torch.uint8


def test_its_length_is_unknown_and_its_size_that_of_the_last_picture():
    source = LiveSource()
    assert (source.info.width, source.info.frame_count, source.info.duration) == (0, 0, None)
    source.put(jpeg(0, (64, 48)), 0)
    next(source.chunks(cap=1))
    assert (source.info.width, source.info.height, source.info.is_still) == (64, 48, False)
    assert source.audio(Fraction(1)) is None


def test_a_picture_that_is_none_is_counted_and_passed_over():
    source, got = LiveSource(), []
    reading = threading.Thread(target=lambda: got.extend(source.chunks(cap=1)))
    reading.start()
    source.put(b"not a picture", 0)
    while not source.damaged:
        pass
    source.put(jpeg(0), 1)
    reading.join()
    assert [chunk.index for chunk in got] == [1]
    assert source.damaged == 1


def test_closing_ends_a_reader_that_waits():
    source = LiveSource()
    reading = threading.Thread(target=lambda: list(source.chunks()))
    reading.start()
    source.close()
    reading.join(10)
    assert not reading.is_alive()
    source.put(jpeg(0), 0)
    assert list(source.chunks()) == []


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", jpeg(5)[:-200], png(), b"GIF89a", bytes(5000)])
def test_what_is_no_whole_jpeg_is_refused(data):
    with pytest.raises(PictureError, match="must be JPEG"):
        decoded(data)


# A red left half beside a grey right one, as a camera has them: BT.601 in video range.
LUMA = np.repeat(np.array([[81] * 8 + [126] * 8], np.uint8), 8, axis=0)
BLUE, RED = (np.repeat(np.array([[value] * 4 + [128] * 4], np.uint8), 4, axis=0) for value in (90, 240))
RED_AND_GREY = torch.tensor([[255, 0, 0]] * 8 + [[128, 128, 128]] * 8)


def planes(
    kind: bytes = b"I420",
    size: tuple[int, int] = (16, 8),
    mirrored: bool = False,
    full_range: bool = False,
) -> bytes:
    chroma = (BLUE, RED) if kind == b"I420" else (np.stack((BLUE, RED), -1),)
    return PLANES.pack(kind, *size, mirrored, full_range) + b"".join(
        part.tobytes() for part in (LUMA, *chroma)
    )


@pytest.mark.parametrize("kind", [b"I420", b"NV12"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_planes_are_shown_in_the_colours_that_the_camera_has(kind, mirrored):
    frames = decoded(planes(kind, mirrored=mirrored))
    assert frames.shape == (1, 8, 16, 3)
    expected = RED_AND_GREY.flip(0) if mirrored else RED_AND_GREY
    away = (frames[0, 4].int() - expected).abs()
    assert (
        away[[0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]].max() <= 3
    )  # between them, colours are interpolated


@pytest.mark.parametrize(("full_range", "level"), [(False, 255), (True, 235)])
def test_planes_of_either_range_are_as_bright_as_the_camera_means(full_range, level):
    data = bytearray(planes(full_range=full_range))
    luma = PLANES.size + np.arange(16 * 8)
    data[luma[0] : luma[-1] + 1] = bytes([235]) * len(luma)
    data[luma[-1] + 1 :] = bytes([128]) * (len(luma) // 2)
    assert (decoded(bytes(data)).int() - level).abs().max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"I420",
        PLANES.pack(b"I420", 0, 0, False, False),
        planes()[:-1],
        planes() + b"0",
        planes(size=(8, 17)),
        planes(size=(65535, 65535)),
    ],
)
def test_planes_of_another_size_than_they_name_are_refused(data):
    with pytest.raises(PictureError, match=r"planes of .* take"):
        decoded(data)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded():
    file = io.BytesIO()
    Image.new("L", (MAX_PICTURE_PIXELS // 1000 + 1, 1000)).save(file, "JPEG")
    with pytest.raises(PictureError, match=f"at most {MAX_PICTURE_PIXELS} pixels, got"):
        decoded(file.getvalue())


def test_a_grey_picture_becomes_one_with_colours():
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(file, "JPEG")
    assert (decoded(file.getvalue()) == 77).all()


def test_the_newest_item_is_taken_once_and_closing_takes_it_away():
    place = Newest[int]()
    assert [place.put(1), place.put(2)] == [False, True]
    items = iter(place)
    assert next(items) == 2
    place.put(3)
    place.close()
    assert list(items) == []
