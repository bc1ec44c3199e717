"""Conversion of VIDEO, IMAGE and AUDIO values to clips and back."""

from __future__ import annotations

import importlib
from dataclasses import replace
from fractions import Fraction

import pytest
import standin_comfyui as standin
import torch

from liveportrait_v2v.media import Audio, VideoWriter


@pytest.fixture
def values(pack):
    return importlib.import_module(f"{standin.NAME}.nodes.host")


@pytest.fixture
def ramp(tmp_path):
    """A clip of 25 frames at 25 frames a second, each 8 levels brighter, with silent audio."""
    path = tmp_path / "ramp.mp4"
    with VideoWriter(path, Fraction(25), audio=Audio(torch.zeros(2, 44100), 44100), crf=1) as writer:
        for k in range(25):
            writer.write(torch.full((1, 32, 48, 3), 8 * k, dtype=torch.uint8))
    return str(path)


def first_level(clip) -> int:
    return round(next(clip.chunks(1)).frames.float().mean().item() / 8)


def test_one_image_is_a_still(values):
    (clip,) = values.clips(torch.zeros(1, 4, 6, 3))
    assert clip.info.is_still


def test_a_batch_of_images_takes_the_other_clips_rate(values, ramp):
    video = standin.VideoFromFile(ramp)
    images, _ = values.clips(torch.zeros(7, 4, 6, 3), video)
    assert (images.info.rate, images.info.frame_count) == (25, 7)
    _, images = values.clips(video, torch.zeros(3, 4, 6, 3))
    assert (images.info.rate, images.info.frame_count) == (25, 3)


def test_batches_alone_run_at_25(values):
    assert [clip.info.rate for clip in values.clips(torch.zeros(2, 4, 6, 3), torch.zeros(3, 4, 6, 3))] == [
        25,
        25,
    ]


def test_a_trimmed_video_is_read_inside_its_window(values, ramp):
    (clip,) = values.clips(standin.VideoFromFile(ramp, start_time=0.2, duration=0.4))
    assert clip.info.frame_count == 10
    assert first_level(clip) == 5


def test_a_window_without_a_duration_goes_to_the_end(values, ramp):
    (clip,) = values.clips(standin.VideoFromFile(ramp, start_time=0.6))
    assert clip.info.frame_count == 10


def test_the_window_is_found_on_cores_that_keep_it_private(values, ramp):
    class OldVideo:
        _VideoFromFile__start_time, _VideoFromFile__duration = -0.4, 0.2

        def get_stream_source(self):
            return ramp

        def _get_raw_duration(self):
            return 1.0

    (clip,) = values.clips(OldVideo())
    assert clip.info.frame_count == 5
    assert first_level(clip) == 15


def test_a_video_made_of_images_is_read_unchanged_with_its_audio(values):
    images = torch.rand(5, 4, 6, 3)
    audio = {"waveform": torch.ones(1, 2, 8000), "sample_rate": 8000}
    video = standin.VideoFromComponents(standin.VideoComponents(images, Fraction(24), audio))
    (clip,) = values.clips(video)
    assert torch.equal(next(clip.chunks(5)).frames, images.mul(255).round().byte())
    assert (clip.info.rate, clip.info.audio.channels) == (24, 2)
    assert clip.audio(Fraction(1, 2)).samples.shape == (2, 4000)


def test_the_alpha_of_a_video_made_of_images_is_kept(values):
    components = standin.VideoComponents(torch.rand(5, 4, 6, 3), Fraction(24))
    components.alpha = torch.rand(5, 4, 6, 1)
    (clip,) = values.clips(standin.VideoFromComponents(components))
    assert clip.info.has_alpha
    wanted = components.alpha[..., 0].mul(255).round().byte()
    assert torch.equal(next(clip.chunks(5, alpha=True)).frames[..., 3], wanted)


def test_audio_that_raises_when_it_is_read_counts_as_none_and_is_noted(values):
    class Lazy(dict):
        def __getitem__(self, key):
            raise RuntimeError("no audio in clip.mp4")

    images = torch.rand(5, 4, 6, 3)
    video = standin.VideoFromComponents(standin.VideoComponents(images, Fraction(24), Lazy(waveform=None)))
    (clip,) = values.clips(video)
    assert clip.info.frame_count == 5
    assert clip.audio(Fraction(1, 2)) is None
    assert clip.info.audio_notes == ("has audio that can't be read (no audio in clip.mp4); it is left out",)


def test_audio_that_does_not_fit_into_memory_is_absent_with_the_numbers(values, host):
    host.free = 1 << 30
    hours = replace(Audio(torch.zeros(2, 100), 48000).stream(), count=48000 * 200_000)
    absent = values.audio_value(hours, Fraction(200_000))
    assert "200000 s of audio as AUDIO need 71.5 GiB of memory, and 1.0 GiB are free" in absent.message


def test_audio_is_a_plain_dict(values):
    audio = values.audio_value(Audio(torch.zeros(2, 100), 8000).stream(), Fraction(1))
    assert type(audio) is dict
    assert audio["waveform"].shape == (1, 2, 100)
    assert audio["sample_rate"] == 8000


def test_no_audio_is_silence_of_the_right_length(values):
    audio = values.audio_value(None, Fraction(1, 2))
    assert type(audio) is dict
    assert audio["waveform"].shape == (1, 2, 22050)
    assert not audio["waveform"].any()


def test_images_that_do_not_fit_into_memory_are_refused_with_the_numbers(values, host):
    host.free = 1 << 30
    with pytest.raises(
        Exception, match=r"10000 frames of 640x360 as IMAGE need 25.7 GiB .* 1.0 GiB are free; do X"
    ):
        values.empty_images(10_000, 360, 640, "do X")
