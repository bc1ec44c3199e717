"""Colours: matrix and range by the stream's tags, against the definition in ITU-T H.273."""

from fractions import Fraction

import pytest
import torch
from make_clips import encode, yuv_frame, yuv_of

from liveportrait_v2v.media import Clip, VideoWriter

COLOURS = [(200, 120, 60), (30, 90, 220), (235, 235, 235), (16, 16, 16), (60, 200, 90), (220, 30, 40)]
UNTAGGED = (2, 0)
LIMITED, FULL = 1, 2


def worst(path):
    """The largest difference between the decoded frames and COLOURS, in levels."""
    got = next(Clip(path).chunks()).frames[:, 20, 30].int()
    return int((got - torch.tensor(COLOURS)).abs().max())


def lossless(tmp_path, frames, tags, pix_fmt="yuv420p"):
    return encode(tmp_path / "a.mp4", frames, tags=tags, pix_fmt=pix_fmt, options={"qp": "0"})


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_tagged_colours_come_out_as_they_went_in(tmp_path, matrix, full):
    frames = [yuv_frame(yuv_of(colour, matrix, full)) for colour in COLOURS]
    assert worst(lossless(tmp_path, frames, (matrix, FULL if full else LIMITED))) <= 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_tagged_ten_bit_colours_come_out_as_they_went_in(tmp_path, matrix, full):
    frames = [yuv_frame(yuv_of(colour, matrix, full), pix_fmt="yuv420p10le") for colour in COLOURS]
    tags = (matrix, FULL if full else LIMITED)
    assert worst(lossless(tmp_path, frames, tags, pix_fmt="yuv420p10le")) <= 4


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((64, 576), 6), ((64, 720), 1), ((1280, 64), 1)])
def test_untagged_colours_are_bt601_when_small_and_bt709_when_large(tmp_path, size, matrix):
    frames = [yuv_frame(yuv_of(colour, matrix, False), *size) for colour in COLOURS]
    assert worst(lossless(tmp_path, frames, UNTAGGED)) <= 3


def test_the_wrong_matrix_would_be_noticed(tmp_path):
    frames = [yuv_frame(yuv_of(colour, 1, False)) for colour in COLOURS]
    assert worst(lossless(tmp_path, frames, (6, LIMITED))) > 10


def test_motion_jpeg_is_full_range_without_a_tag(tmp_path):
    frames = [yuv_frame(yuv_of(colour, 6, True), pix_fmt="yuvj420p") for colour in COLOURS]
    options = {"qmin": "1", "q": "1"}
    path = encode(tmp_path / "a.avi", frames, codec="mjpeg", pix_fmt="yuvj420p", options=options)
    assert worst(path) <= 6


def test_grey_stays_grey_at_every_level(tmp_path):
    frames = [yuv_frame((16 + round(219 * level / 255), 128, 128)) for level in range(0, 256, 5)]
    path = encode(tmp_path / "grey.mp4", frames, tags=(1, LIMITED), options={"qp": "0"})
    got = [int(v) for chunk in Clip(path).chunks() for v in chunk.frames[:, 20, 30, 1]]
    assert max(abs(v - level) for v, level in zip(got, range(0, 256, 5), strict=True)) <= 1


def test_writing_and_reading_a_clip_repeatedly_does_not_darken_it(tmp_path):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(60, 160, (1, 3, 4, 6), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, (96, 128), mode="bilinear")
    first = smooth.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    frames = first
    for generation in range(4):
        path = tmp_path / f"{generation}.mp4"
        with VideoWriter(path, Fraction(25), crf=0) as writer:
            writer.write(frames)
        frames = next(Clip(path).chunks()).frames
    assert (frames.float() - first.float()).mean((0, 1, 2)).abs().max() < 1.5  # chroma loses 0.3 a time
