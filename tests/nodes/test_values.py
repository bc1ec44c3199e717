"""Conversion of VIDEO, IMAGE and AUDIO values to clips and back."""

from __future__ import annotations

import importlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
import standin_comfyui as standin
import torch
from media.make_clips import set_display_matrix

from liveportrait_v2v.media import Audio, Clip, VideoWriter


@pytest.fixture
def values(pack):
    return importlib.import_module(f"{standin.NAME}.nodes.host.sockets")


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


class Edited(standin.VideoFromFile):
    """A VIDEO of the newer cores: a crop that only its size and what it writes show.

    Attributes:
        saved: how often it was written.
    """

    def __init__(self, file: str, crop: tuple[int, int, int, int] | None, **window: float):
        super().__init__(file, **window)
        self.crop, self.saved = crop, 0

    def as_cropped(self, x: int, y: int, width: int, height: int) -> Edited:
        return Edited(self.file, (x, y, width, height), start_time=self.window[0], duration=self.window[1])

    def get_dimensions(self) -> tuple[int, int]:
        if self.crop is not None:
            return self.crop[2:]
        with av.open(self.file) as container:
            stream = container.streams.video[0]
            return stream.width, stream.height  # as they are coded, before they are turned

    def _frames(self, alpha: bool) -> torch.Tensor:
        x, y, width, height = self.crop
        start, duration = self.window
        clip = Clip(self.file, start=start, duration=duration or None)
        frames = torch.cat([chunk.frames for chunk in clip.chunks(8, alpha=alpha)])
        return frames[:, y : y + height, x : x + width]

    def get_components(self) -> standin.VideoComponents:
        frames = self._frames(alpha=True) / 255
        components = standin.VideoComponents(frames[..., :3], Fraction(25))
        components.alpha = frames[..., 3:]
        return components

    def save_to(self, path: str, *, crf: float) -> None:
        self.saved += 1
        with VideoWriter(path, Fraction(25), crf=crf) as writer:
            writer.write(self._frames(alpha=False))


@pytest.fixture
def halves(tmp_path):
    """A clip of 25 frames, black on the left; on the right each frame 8 levels brighter than the one before."""
    path = tmp_path / "halves.mp4"
    with VideoWriter(path, Fraction(25), crf=1) as writer:
        for k in range(25):
            frame = torch.zeros(1, 32, 64, 3, dtype=torch.uint8)
            frame[:, :, 32:] = 8 * k
            writer.write(frame)
    return str(path)


def test_a_video_that_core_has_cropped_is_read_inside_the_crop(values, halves):
    video = Edited(halves, None).as_cropped(34, 4, 24, 20)
    (clip,) = values.clips(video)
    assert (clip.info.width, clip.info.height, clip.info.frame_count) == (24, 20, 25)
    assert first_level(clip) == 0
    last = torch.cat([chunk.frames for chunk in clip.chunks(8)])[-1].float()
    assert (last - 8 * 24).abs().max() < 4


def test_a_video_that_is_trimmed_and_cropped_is_read_inside_both(values, halves):
    (clip,) = values.clips(Edited(halves, (34, 4, 24, 20), start_time=0.2, duration=0.4))
    assert (clip.info.width, clip.info.frame_count) == (24, 10)
    assert first_level(clip) == 5


def test_a_cropped_video_is_written_once_and_again_when_the_file_is_gone(values, halves):
    video = Edited(halves, (34, 4, 24, 20))
    (first,), (second,) = values.clips(video), values.clips(video)
    assert (first.path, video.saved) == (second.path, 1)
    first.path.unlink()
    values.clips(video)
    assert video.saved == 2


def test_a_video_of_a_newer_core_that_is_not_edited_is_read_from_its_own_file(values, halves):
    video = Edited(halves, None, start_time=0.2, duration=0.4)
    (clip,) = values.clips(video)
    assert (str(clip.path), clip.info.frame_count, video.saved) == (halves, 10, 0)


def test_a_clip_that_is_turned_but_not_cropped_is_read_from_its_own_file(values, halves):
    set_display_matrix(Path(halves), 0, 1, -1, 0)
    video = Edited(halves, None)
    (clip,) = values.clips(video)
    assert (str(clip.path), clip.info.width, video.saved) == (halves, 32, 0)


def test_edits_that_leave_the_size_as_it_was_are_seen_where_core_tells_them(values, halves):
    class Resized(Edited):
        def get_dimensions(self):
            return 64, 32

        def has_pending_frame_edits(self):
            return True

    (clip,) = values.clips(Resized(halves, (34, 4, 24, 20)))
    assert clip.info.width == 24


def test_videos_in_a_row_are_read_as_core_joins_them(values, ramp):
    class List:
        """Core's VideoFromList: it has no size of its own, and its stream source is written with all edits."""

        def get_stream_source(self):
            return open(ramp, "rb")

        def get_active_trim_window(self):
            return 0.0, 0.0

        def get_dimensions(self):
            raise NotImplementedError

        def as_cropped(self, x, y, width, height):
            raise NotImplementedError

    (clip,) = values.clips(List())
    assert clip.info.frame_count == 25


def test_the_alpha_of_a_cropped_video_is_kept(values, tmp_path, host):
    path = tmp_path / "see_through.webm"
    frames = torch.full((5, 32, 64, 4), 200, dtype=torch.uint8)
    frames[..., 32:, 3] = 0
    with VideoWriter(path, Fraction(25), crf=1) as writer:
        writer.write(frames)
    video = Edited(str(path), (16, 4, 32, 20))
    (clip,) = values.clips(video)
    (chunk,) = clip.chunks(8, alpha=True)
    assert chunk.frames.shape == (5, 20, 32, 4)
    assert chunk.frames[..., :12, 3].min() > 190
    assert chunk.frames[..., 20:, 3].max() < 5
    host.free = 1000
    with pytest.raises(Exception, match=r"5 frames of 32x20 .*; crop a shorter file, or one without alpha"):
        values.clips(video)


def test_images_in_hdr_are_read_as_core_writes_them(values, ramp):
    class Hdr(standin.VideoFromComponents):
        def get_color_space(self):
            return "HDR PQ"

        def save_to(self, path, *, crf):
            Path(path).write_bytes(Path(ramp).read_bytes())

    (clip,) = values.clips(Hdr(standin.VideoComponents(torch.rand(5, 4, 6, 3), Fraction(24))))
    assert (clip.info.width, clip.info.frame_count) == (48, 25)


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
