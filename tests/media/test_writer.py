"""Video files written frame by frame."""

import os
import re
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_clips import (
    beep,
    beep_time,
    count_up,
    encode,
    number_of,
    numbered,
    numbers_of,
    pitches,
    tones,
)

from liveportrait_v2v.errors import MediaError, SettingsError
from liveportrait_v2v.media import Audio, Clip, VideoWriter, writer
from liveportrait_v2v.media.writer import usual_crf

KINDS = [".mp4", ".mkv", ".webm", ".mov"]


def frames(count, first=0, **size):
    return torch.from_numpy(np.stack([numbered(n, **size) for n in range(first, first + count)]))


def write(path, count=20, rate=Fraction(25), chunk=8, **options):
    with VideoWriter(path, rate, **options) as writer:
        for first in range(0, count, chunk):
            writer.write(frames(min(chunk, count - first), first))
    return path


@pytest.mark.parametrize(
    ("suffix", "video", "audio"),
    [
        (".mp4", "h264", "aac"),
        (".MP4", "h264", "aac"),
        (".mkv", "h264", "aac"),
        (".mov", "h264", "aac"),
        (".webm", "vp9", "opus"),
    ],
)
def test_the_extension_chooses_the_codecs(tmp_path, suffix, video, audio):
    path = write(tmp_path / f"a{suffix}", audio=Audio(torch.from_numpy(beep(0.2, 1)), 48000))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name.startswith(video)
        assert container.streams.audio[0].codec_context.name == audio
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(12), Fraction(749, 25)]
)
def test_every_frame_comes_back_at_the_exact_rate(tmp_path, suffix, rate):
    clip = Clip(write(tmp_path / f"a{suffix}", 30, rate))
    assert clip.info.rate == rate
    assert clip.info.frame_count == 30
    assert numbers_of(clip.chunks()) == list(range(30))


def test_mp4_timestamps_are_exact_to_the_tick(tmp_path):
    rate = Fraction(30000, 1001)
    with av.open(str(write(tmp_path / "a.mp4", 30, rate))) as container:
        stream = container.streams.video[0]
        assert [frame.pts * stream.time_base for frame in container.decode(stream)] == [
            n / rate for n in range(30)
        ]


def test_a_rate_given_as_a_float_becomes_the_intended_fraction(tmp_path):
    assert Clip(write(tmp_path / "a.mp4", 5, 29.97)).info.rate == Fraction(2997, 100)


@pytest.mark.parametrize("suffix", KINDS)
def test_colours_come_back_within_a_few_levels(tmp_path, suffix):
    colours = torch.tensor(
        [[200, 120, 60], [30, 90, 220], [250, 250, 250], [5, 5, 5], [60, 200, 90], [220, 30, 40]]
    )
    pictures = colours[:, None, None].expand(-1, 64, 64, -1).to(torch.uint8)
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25)) as writer:
        writer.write(pictures)
    back = next(Clip(tmp_path / f"a{suffix}").chunks()).frames
    assert (back[:, 30, 30].int() - colours).abs().max() <= 4


@pytest.mark.parametrize("suffix", KINDS)
def test_colours_are_tagged_bt709_limited_range(tmp_path, suffix):
    with av.open(str(write(tmp_path / f"a{suffix}"))) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc) == (1, 1)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25)])
def test_a_flash_and_its_beep_stay_together(tmp_path, suffix, rate):
    """The picture flashes from frame 40 on; the tone begins at that time."""
    at = 40 / rate
    audio = Audio(torch.from_numpy(beep(float(at), 2)), 48000)
    with VideoWriter(tmp_path / f"a{suffix}", rate, audio=audio) as writer:
        writer.write(torch.zeros(40, 64, 64, 3, dtype=torch.uint8))
        writer.write(torch.full((20, 64, 64, 3), 255, dtype=torch.uint8))
    clip = Clip(tmp_path / f"a{suffix}")
    levels = [float(f.float().mean()) for chunk in clip.chunks() for f in chunk.frames]
    flash = next(n for n, level in enumerate(levels) if level > 128) / rate
    tone = beep_time(clip.audio(clip.info.duration).samples, 48000)
    assert flash == at
    assert tone == pytest.approx(float(at), abs=0.005)


@pytest.mark.parametrize("seconds", [0.3, 5])
def test_audio_is_cut_or_padded_to_the_length_of_the_video(tmp_path, seconds):
    audio = Audio(torch.from_numpy(beep(0.1, seconds)), 48000)
    path = write(tmp_path / "a.mp4", 37, audio=audio)
    with av.open(str(path)) as container:
        audio, video = container.streams.audio[0], container.streams.video[0]
        assert audio.duration * audio.time_base == video.duration * video.time_base == Fraction(37, 25)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (96000, 2), (11025, 1), (37800, 2)])
def test_any_sample_rate_is_written_in_sync(tmp_path, suffix, rate, channels):
    audio = Audio(torch.from_numpy(beep(1, 2, rate, channels)), rate)
    path = write(tmp_path / f"a{suffix}", 50, audio=audio)
    audio = Clip(path).audio(Fraction(2))
    assert audio.samples.shape[0] == channels
    assert beep_time(audio.samples, audio.rate) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("suffix", KINDS)
def test_surround_sound_keeps_its_channels_in_their_order(tmp_path, suffix):
    samples = np.concatenate([beep(0.2 * n + 0.1, 2, channels=1) for n in range(6)])
    samples[3] = 0  # LFE
    path = write(tmp_path / f"a{suffix}", 50, audio=Audio(torch.from_numpy(samples), 48000))
    clip = Clip(path)
    assert clip.info.audio.layout == "5.1"
    back = clip.audio(Fraction(2)).samples
    for channel in (0, 1, 2, 4, 5):
        assert beep_time(back[channel : channel + 1], 48000) == pytest.approx(0.2 * channel + 0.1, abs=0.01)


PLACES = {
    "mono": "mono",
    "quad": "quad",
    "quad(side)": "quad",
    "5.1": "5.1",
    "5.1(side)": "5.1",
    "7.1": "7.1",
}


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("layout", PLACES)
def test_each_channel_is_heard_from_its_own_speaker(tmp_path, suffix, layout):
    audio = Audio(torch.from_numpy(tones(layout)), 48000, layout)
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25), audio=audio) as writer:
        writer.write(frames(25))
        assert writer.changes((144, 96)) == ()
    back = Clip(tmp_path / f"a{suffix}").audio(Fraction(1))
    assert back.layout == PLACES[layout]
    assert pitches(back.samples) == pitches(tones(layout))


@pytest.mark.parametrize(
    ("suffix", "layout", "wider", "heard"),
    [
        (".mp4", "3.1", "5.1", [400, 500, 600, 40, 0, 0]),
        (".mp4", "5.0(side)", "5.0", [400, 500, 600, 700, 800]),
        (".webm", "5.0", "5.1", [400, 500, 600, 0, 700, 800]),
        (".webm", "2.1", "5.1", [400, 500, 0, 40, 0, 0]),
        (".mp4", "7.0", "7.1", [400, 500, 600, 0, 700, 800, 900, 1000]),
        (".webm", "6.1", "7.1", [400, 500, 600, 40, 800, 800, 900, 1000]),  # back centre from both backs
    ],
)
def test_a_layout_that_the_codec_lacks_takes_places_in_a_wider_one(tmp_path, suffix, layout, wider, heard):
    audio = Audio(torch.from_numpy(tones(layout)), 48000, layout)
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25), audio=audio) as writer:
        writer.write(frames(25))
        changed = writer.changes((144, 96))
    back = Clip(tmp_path / f"a{suffix}").audio(Fraction(1))
    assert back.layout == wider
    assert pitches(back.samples) == heard
    same_count = len(heard) == len(tones(layout, 0.1))
    assert changed == (() if same_count else (f"audio in {layout} becomes {wider} in {suffix}",))


def test_positions_that_mean_nothing_to_players_become_stereo(tmp_path):
    audio = Audio(torch.from_numpy(tones("stereo")), 48000, "downmix")
    clip = Clip(write(tmp_path / "a.mp4", 25, audio=audio))
    assert clip.info.audio.layout == "stereo"
    assert pitches(clip.audio(Fraction(1)).samples) == [400, 500]


def test_a_resampled_rate_is_noted(tmp_path):
    audio = Audio(torch.zeros(2, 192000), 192000)
    with VideoWriter(tmp_path / "a.mp4", Fraction(25), audio=audio) as writer:
        writer.write(frames(25))
        assert writer.changes((144, 96)) == ("audio of 192000 Hz is resampled to 96000 Hz in .mp4",)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_frame_of_hours_takes_no_hours_of_silence(tmp_path, suffix):
    rate = Fraction(1, 20_000)
    audio = replace(Audio(torch.from_numpy(beep(0.5, 1)), 48000).stream(), count=48000 * 40_000)
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, rate, audio=audio) as writer:
        writer.write(frames(2))
    assert path.stat().st_size < 100_000
    clip = Clip(path)
    assert clip.info.frame_count == 2
    ((at, sound),) = [
        (at, block) for at, block in clip.stream_audio(Fraction(40_000)).blocks() if block.abs().max() > 0.4
    ][:1]
    assert (at + int(sound[0].abs().argmax())) / 48000 == pytest.approx(0.5, abs=0.03)
    with av.open(str(path)) as container:
        (track,) = container.streams.audio
        *_, last = (packet for packet in container.demux(track) if packet.size)
    assert (last.pts + last.duration) * last.time_base == pytest.approx(40_000, abs=0.1)


def test_audio_of_a_clip_passes_through(tmp_path):
    tone = beep(1, 2, channels=1)
    source = Clip(encode(tmp_path / "in.mkv", count_up(50), audio=tone, audio_layout="mono"))
    path = write(tmp_path / "out.mp4", 50, audio=source.audio(source.info.duration))
    assert beep_time(Clip(path).audio(Fraction(2)).samples, 48000) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(("width", "height"), [(145, 97), (145, 96), (144, 97), (1, 1), (3, 2)])
def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path, suffix, width, height):
    picture = torch.full((1, height, width, 3), 40, dtype=torch.uint8)
    picture[:, :, -1:] = 200
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25), crf=1) as writer:
        writer.write(picture)
    back = next(Clip(tmp_path / f"a{suffix}").chunks()).frames[0]
    assert back.shape == (height + height % 2, width + width % 2, 3)
    assert back[:, width - 1 :].min() > 190
    assert width < 3 or back[:, : width - 2].max() < 60


@pytest.mark.parametrize(
    ("size", "crf"), [((1920, 1080), 17), ((360, 640), 17), ((480, 270), 12), ((320, 240), 10), ((64, 64), 8)]
)
def test_smaller_videos_have_a_lower_crf(size, crf):
    assert usual_crf(*size) == crf


@pytest.mark.parametrize("suffix", KINDS)
def test_a_small_video_keeps_more_detail_than_with_the_crf_of_large_ones(tmp_path, suffix):
    grain = torch.rand(1, 144, 176, 1, generator=torch.Generator().manual_seed(1))
    made = (100 + 40 * grain).to(torch.uint8).expand(4, -1, -1, 3)
    misses = []
    for name, options in (("usual", {}), ("as large ones", {"crf": 17})):
        with VideoWriter(tmp_path / f"{name}{suffix}", Fraction(25), **options) as writer:
            writer.write(made)
        back = torch.cat([chunk.frames for chunk in Clip(tmp_path / f"{name}{suffix}").chunks()])
        misses.append((back.float() - made.float()).abs().mean().item())
    assert misses[0] < 0.9 * misses[1]


@pytest.mark.parametrize("suffix", KINDS)
def test_a_single_frame_is_a_video(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", 1, audio=Audio(torch.zeros(2, 48000), 48000))
    clip = Clip(path)
    assert clip.info.frame_count == 1
    assert clip.info.rate == 25
    assert numbers_of(clip.chunks()) == [0]


def test_mp4_can_start_playing_before_it_is_loaded(tmp_path):
    data = write(tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_frames_may_have_any_memory_layout(tmp_path):
    turned = frames(4).permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3)
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        writer.write(turned)
        assert writer.frame_count == 4
    assert numbers_of(Clip(tmp_path / "a.mp4").chunks()) == [0, 1, 2, 3]


def test_the_target_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    with VideoWriter(path, Fraction(25)) as writer:
        writer.write(frames(10))
        assert path.read_bytes() == b"the old one"
    assert Clip(path).info.frame_count == 10
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("written", [0, 10])
def test_any_exception_leaves_nothing_behind(tmp_path, error, written):
    path = tmp_path / "a.mp4"
    with pytest.raises(error), VideoWriter(path, Fraction(25)) as writer:
        if written:
            writer.write(frames(written))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_old_file_unchanged(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(RuntimeError), VideoWriter(path, Fraction(25)) as writer:
        writer.write(frames(3))
        raise RuntimeError
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_are_an_error_that_leaves_nothing_behind(tmp_path):
    with pytest.raises(MediaError, match="no frames"), VideoWriter(tmp_path / "a.mp4", Fraction(25)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="no directory"):
        VideoWriter(tmp_path / "missing" / "a.mp4", Fraction(25))


def test_a_directory_that_takes_no_files_is_an_error():
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    with pytest.raises(MediaError, match="can't be written"), VideoWriter("/proc/self/a.mp4", Fraction(25)):
        pass


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(tmp_path):
    resource = pytest.importorskip("resource")
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = torch.randint(0, 255, (60, 256, 256, 3), dtype=torch.uint8)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
        full = pytest.raises(MediaError, match="can't be written")
        with full, VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
            writer.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a", "a.txt"])
def test_an_unknown_extension_is_an_error_that_lists_the_known_ones(tmp_path, name):
    with pytest.raises(MediaError, match=r".mp4"):
        VideoWriter(tmp_path / name, Fraction(25))


@pytest.mark.parametrize("options", [{"rate": 0}, {"crf": 99}, {"preset": "warp"}])
def test_settings_out_of_range_are_errors(tmp_path, options):
    with pytest.raises(SettingsError):
        VideoWriter(tmp_path / "a.mp4", **{"rate": Fraction(25), **options})


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 8, 8, 5, dtype=torch.uint8),
        torch.zeros(2, 8, 8, 3),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
    ],
)
def test_frames_of_another_kind_are_an_error(tmp_path, wrong):
    with pytest.raises(MediaError, match="uint8"), VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        writer.write(wrong)


def test_frames_of_changing_size_are_an_error(tmp_path):
    with pytest.raises(MediaError, match="144x96"), VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        writer.write(frames(2))
        writer.write(frames(2, width=160))


def peak_memory() -> int:
    """Peak memory of this process in bytes since the last call."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again: other tests may have needed more
    return int(peak) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_video_is_written_and_read_in_bounded_memory(tmp_path):
    path = tmp_path / "long.mp4"
    chunk = frames(8, width=320, height=240)

    def write_and_read(count):
        with VideoWriter(path, Fraction(25), preset="ultrafast") as writer:
            for _ in range(count // 8):
                writer.write(chunk)
        assert sum(len(c.frames) for c in Clip(path).chunks()) == count
        return peak_memory()

    peak_memory()
    before = write_and_read(200)
    # As one tensor 1600 frames would be 369 MB.
    assert write_and_read(1600) - before < 60e6


def test_numbers_survive_strong_compression(tmp_path):
    path = write(tmp_path / "a.mp4", 20, crf=40)
    assert [number_of(f) for chunk in Clip(path).chunks() for f in chunk.frames] == list(range(20))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_eight_channels_are_written(tmp_path, suffix):
    audio = Audio(torch.from_numpy(beep(0.5, 1, channels=8)), 48000)
    clip = Clip(write(tmp_path / f"a{suffix}", audio=audio))
    assert clip.info.audio.layout == "7.1"
    assert beep_time(clip.audio(Fraction(1)).samples, 48000) == pytest.approx(0.5, abs=0.005)


def test_nine_channels_are_an_error_that_leaves_nothing_behind(tmp_path):
    audio = Audio(torch.zeros(9, 100), 48000)
    refused = pytest.raises(MediaError, match="8 channels")
    with refused, VideoWriter(tmp_path / "a.mp4", Fraction(25), audio=audio) as writer:
        writer.write(frames(2))
    assert list(tmp_path.iterdir()) == []


def codec_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


@pytest.fixture
def hardware(monkeypatch):
    """An encoder that stands in for a GPU's: another one of the CPU's."""
    monkeypatch.setattr(writer, "_HARDWARE", "mpeg4")


@pytest.fixture
def no_hardware(monkeypatch):
    """An encoder that never opens: this one takes no 4:2:0."""
    monkeypatch.setattr(writer, "_HARDWARE", "libx264rgb")


@pytest.mark.parametrize(
    ("encoder", "codec"), [("software", "h264"), ("hardware", "mpeg4"), ("auto", "mpeg4")]
)
def test_the_encoder_is_the_chosen_one(tmp_path, hardware, encoder, codec):
    path = write(tmp_path / "a.mp4", encoder=encoder, audio=Audio(torch.from_numpy(beep(0.2, 1)), 48000))
    assert codec_of(path) == codec
    assert Clip(path).info.frame_count == 20


def test_without_the_hardware_auto_encodes_by_software_and_warns(tmp_path, no_hardware):
    with pytest.warns(UserWarning, match=r"libx264rgb does not encode this file.*by software"):
        path = write(tmp_path / "a.mp4", encoder="auto", audio=Audio(torch.from_numpy(beep(0.2, 1)), 48000))
    assert codec_of(path) == "h264"
    assert numbers_of(Clip(path).chunks()) == list(range(20))


def test_hardware_that_can_not_encode_a_file_is_an_error_and_leaves_none(tmp_path, monkeypatch, no_hardware):
    # Given an encoder that opens, but not for this file.
    monkeypatch.setattr(writer, "unusable", lambda codec: None)
    with pytest.raises(MediaError, match=r"libx264rgb does not encode this file.*take the software encoder"):
        write(tmp_path / "a.mp4", encoder="hardware")
    assert list(tmp_path.iterdir()) == []


def test_hardware_that_does_not_encode_is_found_before_the_first_frame(tmp_path, no_hardware):
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(25), encoder="hardware")
    with pytest.raises(MediaError, match="does not work here"):
        writer.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_build_of_ffmpeg_without_the_hardwares_encoder_is_named_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_HARDWARE", "h264_nowhere")
    with pytest.raises(MediaError, match="h264_nowhere does not work here: this build of FFmpeg lacks it"):
        write(tmp_path / "a.mp4", encoder="hardware")


def test_webm_is_encoded_by_software(tmp_path, hardware):
    assert codec_of(write(tmp_path / "a.webm", encoder="auto")) == "vp9"
    with pytest.raises(SettingsError, match=r"software or auto for a \.webm file"):
        VideoWriter(tmp_path / "b.webm", 25, encoder="hardware")


def test_an_unknown_encoder_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="encoder must be one of software, hardware, auto, got 'gpu'"):
        VideoWriter(tmp_path / "a.mp4", 25, encoder="gpu")
