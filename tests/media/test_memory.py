"""Frames in memory as a clip."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Audio, Clip, Frames


def numbered(count: int, channels: int = 3) -> torch.Tensor:
    """Float frames; all values of the k-th are k / 255."""
    return (torch.arange(count) / 255).view(-1, 1, 1, 1).expand(count, 4, 6, channels)


def levels(clip: Clip, **options) -> list[int]:
    """The level of each decoded frame."""
    return [int(frame[0, 0, 0]) for chunk in clip.chunks(2, **options) for frame in chunk.frames]


def test_a_batch_with_a_rate_is_a_clip_of_that_rate():
    info = Clip(Frames(numbered(5), Fraction(24))).info
    assert (info.width, info.height, info.rate, info.frame_count) == (6, 4, 24, 5)
    assert info.duration == Fraction(5, 24)
    assert info.audio is None
    assert not info.is_still


def test_one_image_without_a_rate_is_a_still():
    clip = Clip(Frames(numbered(1)))
    assert clip.info.is_still
    assert clip.info.frame_count == 1
    assert levels(clip) == [0]
    assert clip.audio(Fraction(1)) is None


def test_floats_come_out_rounded_and_clamped():
    images = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0, float("nan")]).view(5, 1, 1, 1).expand(5, 2, 2, 3)
    assert levels(Clip(Frames(images, Fraction(25)))) == [0, 0, 1, 255, 0]


def test_bytes_come_out_unchanged():
    images = torch.randint(0, 256, (3, 4, 6, 3), dtype=torch.uint8)
    assert torch.equal(next(Clip(Frames(images, Fraction(25))).chunks(3)).frames, images)


def test_grey_becomes_three_channels():
    chunk = next(Clip(Frames(numbered(2, channels=1), Fraction(25))).chunks(2))
    assert chunk.frames.shape == (2, 4, 6, 3)
    assert (chunk.frames[1] == 1).all()


def test_transparent_parts_are_composited_over_black():
    images = torch.ones(1, 4, 6, 4)
    images[..., 3] = 0.5
    assert levels(Clip(Frames(images))) == [pytest.approx(128, abs=1)]


def test_the_options_of_a_clip_apply_to_frames_too():
    clip = Clip(Frames(numbered(10), Fraction(10)))
    assert levels(clip, skip=1, every_nth=3) == [1, 4, 7]
    assert levels(clip, rate=Fraction(5), cap=3) == [0, 2, 4]
    assert next(clip.chunks(1, max_side=3)).frames.shape == (1, 2, 3, 3)
    assert levels(Clip(Frames(numbered(10), Fraction(10)), start=0.5, duration=0.2)) == [5, 6]


def test_its_audio_is_cut_and_padded_to_the_requested_length():
    audio = Audio(torch.arange(1, 101).float().view(1, 100), 100)
    clip = Clip(Frames(numbered(10), Fraction(10), audio))
    assert clip.info.audio.layout == "mono"
    part = clip.audio(Fraction(1, 2), start=Fraction(7, 10)).samples
    assert part.shape == (1, 50)
    assert part[0, 0] == 71
    assert part[0, 29] == 100
    assert part[0, 30:].sum() == 0


@pytest.mark.parametrize(
    ("images", "rate"),
    [
        (torch.zeros(0, 4, 6, 3), Fraction(25)),
        (torch.zeros(4, 6, 3), Fraction(25)),
        (torch.zeros(2, 4, 6, 5), Fraction(25)),
        (torch.zeros(2, 4, 6, 3), None),
    ],
)
def test_a_wrong_batch_of_frames_is_an_error_that_gives_its_shape_or_number(images, rate):
    with pytest.raises(MediaError, match=r"got \[|got 2"):
        Clip(Frames(images, rate))


def test_audio_of_more_channels_than_a_layout_has_is_an_error():
    audio = Audio(torch.zeros(9, 100), 100)
    with pytest.raises(MediaError, match="1 to 8 channels, got 9"):
        Clip(Frames(numbered(2), Fraction(25), audio))


def test_its_digest_depends_on_images_rate_and_audio():
    audio = Audio(torch.zeros(1, 100), 100)
    clips = [
        Frames(numbered(3), Fraction(25)),
        Frames(numbered(3) + 1 / 255, Fraction(25)),
        Frames(numbered(3), Fraction(24)),
        Frames(numbered(3), Fraction(25), audio),
    ]
    digests = [Clip(frames).digest() for frames in clips]
    assert len(set(digests)) == 4
    assert Clip(Frames(numbered(3).clone(), Fraction(25))).digest() == digests[0]
