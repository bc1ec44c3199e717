"""Audio: exact sample counts, in sync with the video, layouts kept."""

import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from make_clips import (
    beep,
    beep_time,
    count_up,
    damage_packets,
    encode,
    encode_audio,
    encode_tracks,
    pitches,
    tones,
)

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Audio, Clip, read_audio

PCM = {"audio_codec": "pcm_s16le"}


def clip_with(tmp_path, samples, name="a.mkv", count=50, **options):
    return Clip(encode(tmp_path / name, count_up(count), audio=samples, **options))


@pytest.mark.parametrize(
    ("layout", "channels", "rate", "codec"),
    [
        ("mono", 1, 22050, "aac"),
        ("stereo", 2, 44100, "aac"),
        ("5.1", 6, 48000, "aac"),
        ("5.1", 6, 48000, "pcm_s16le"),
        ("stereo", 2, 8000, "pcm_u8"),
        ("stereo", 2, 48000, "pcm_s24le"),
        ("mono", 1, 48000, "pcm_f32le"),
        ("stereo", 2, 48000, "libopus"),
        ("7.1", 8, 48000, "flac"),
        ("7.1", 8, 48000, "aac"),
    ],
)
def test_any_layout_and_rate_is_kept(tmp_path, layout, channels, rate, codec):
    samples = beep(0.5, 2, rate, channels) * np.linspace(1, 0.3, channels, dtype=np.float32)[:, None]
    clip = clip_with(tmp_path, samples, audio_rate=rate, audio_layout=layout, audio_codec=codec)
    audio = clip.audio(Fraction(2))
    info = clip.info.audio
    assert (info.sample_rate, info.channels, info.layout) == (rate, channels, layout)
    assert audio.rate == rate
    assert audio.layout == layout
    assert audio.samples.dtype == torch.float32
    assert audio.samples.shape == (channels, 2 * rate)
    assert beep_time(audio.samples, rate) == pytest.approx(0.5, abs=0.003)
    peaks = audio.samples.abs().amax(1)
    loud = [c for c in range(channels) if not (layout in ("5.1", "7.1") and c == 3)]  # LFE is low-passed
    assert torch.allclose(peaks[loud], torch.linspace(0.8, 0.24, channels)[loud], atol=0.12)


def test_uncompressed_samples_are_exact(tmp_path):
    ramp = np.tile(np.arange(-32768, 32768, 8, dtype=np.float32) / 32768, (2, 10))
    clip = clip_with(tmp_path, ramp, **PCM)
    audio = clip.audio(Fraction(1))
    assert torch.equal(audio.samples, torch.from_numpy(ramp[:, :48000]))


@pytest.mark.parametrize("duration", [Fraction(1), Fraction(1001, 30000) * 17, Fraction(5), Fraction(1, 3)])
def test_the_number_of_samples_is_exact(tmp_path, duration):
    clip = clip_with(tmp_path, beep(0.1, 2, 44100), audio_rate=44100)
    assert clip.audio(duration).samples.shape == (2, round(duration * 44100))


def test_audio_shorter_than_requested_is_padded_with_silence(tmp_path):
    clip = clip_with(tmp_path, np.full((2, 24000), 0.5, np.float32), **PCM)
    samples = clip.audio(Fraction(2)).samples
    assert (samples[:, :24000] == 0.5).all()
    assert (samples[:, 24000:] == 0).all()


def test_audio_longer_than_requested_is_cut(tmp_path):
    clip = clip_with(tmp_path, beep(0.5, 4), **PCM)
    assert beep_time(clip.audio(Fraction(1)).samples, 48000) == 0.5


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le", "flac"])
def test_digital_silence_stays_silent(tmp_path, codec):
    clip = clip_with(tmp_path, np.zeros((2, 48000), np.float32), audio_codec=codec)
    assert clip.audio(Fraction(1)).samples.abs().max() == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
def test_the_encoders_priming_is_cut(tmp_path, name):
    clip = clip_with(tmp_path, beep(0.5, 2), name=name)
    # MPEG-TS can't mark priming, so one block of 1024 samples is left.
    slack = 0.03 if name == "a.ts" else 0.003
    assert beep_time(clip.audio(Fraction(2)).samples, 48000) == pytest.approx(0.5, abs=slack)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_late_audio_is_preceded_by_silence(tmp_path, name):
    clip = clip_with(tmp_path, beep(0.5, 2), name=name, audio_start=Fraction(1, 2))
    audio = clip.audio(Fraction(2)).samples
    assert beep_time(audio, 48000) == pytest.approx(1.0, abs=0.003)
    assert audio[:, :23000].abs().max() == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_audio_that_begins_before_the_video_is_cut(tmp_path, name):
    clip = clip_with(tmp_path, beep(1, 2), name=name, pts=[n + 10 for n in range(50)])
    assert beep_time(clip.audio(Fraction(2)).samples, 48000) == pytest.approx(0.6, abs=0.003)


def test_audio_follows_the_trim_window_and_its_own_start(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(50), audio=beep(1.5, 2))
    trimmed = Clip(path, start=1, duration=1)
    assert beep_time(trimmed.audio(Fraction(1)).samples, 48000) == pytest.approx(0.5, abs=0.003)
    later = trimmed.audio(Fraction(1, 2), start=Fraction(1, 4)).samples
    assert later.shape == (2, 24000)
    assert beep_time(later, 48000) == pytest.approx(0.25, abs=0.003)


def test_a_window_far_into_a_long_clip_is_in_sync(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(400), rate=Fraction(10), audio=beep(30.5, 40))
    assert beep_time(Clip(path, start=30).audio(Fraction(1)).samples, 48000) == pytest.approx(0.5, abs=0.003)


def test_a_gap_in_the_timestamps_is_silence_and_what_follows_is_in_sync(tmp_path):
    clip = clip_with(tmp_path, beep(1.5, 2), audio_gap=(0.5, 1), **PCM)
    assert beep_time(clip.audio(Fraction(2)).samples, 48000) == pytest.approx(1.5, abs=0.003)


def test_no_audio_is_none(tmp_path):
    clip = Clip(encode(tmp_path / "a.mp4", count_up(2)))
    assert clip.info.audio is None
    assert clip.audio(Fraction(1)) is None
    assert read_audio(tmp_path / "a.mp4") is None


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.m4a", "aac"), ("a.flac", "flac")])
def test_music_alone_can_be_read(tmp_path, name, codec):
    path = encode_audio(tmp_path / name, beep(0.5, 2), codec=codec)
    audio = read_audio(path)
    assert audio.rate == 48000
    assert abs(audio.samples.shape[1] - 96000) < 1100
    assert beep_time(audio.samples, 48000) == pytest.approx(0.5, abs=0.003)
    part = read_audio(io.BytesIO(path.read_bytes()), start=Fraction(1, 4), duration=Fraction(1, 2))
    assert part.samples.shape == (2, 24000)
    assert beep_time(part.samples, 48000) == pytest.approx(0.25, abs=0.003)


def test_audio_of_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        read_audio(tmp_path / "missing.wav")


def test_audio_that_changes_its_format_midway_keeps_the_first_format(tmp_path):
    first = encode_audio(tmp_path / "one.aac", beep(0.5, 1), rate=48000)
    second = encode_audio(tmp_path / "two.aac", beep(0.5, 1, 24000, 1), rate=24000, layout="mono")
    path = tmp_path / "both.aac"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    audio = read_audio(path, duration=Fraction(2))
    assert audio.rate == 48000
    assert audio.samples.shape == (2, 96000)
    assert beep_time(audio.samples[:, :48000], 48000) == pytest.approx(0.5, abs=0.03)
    # Bare AAC has no timestamps: FFmpeg guesses the time of the second tone, but the tone is there.
    assert audio.samples[:, 52000:].abs().max() > 0.3


@pytest.mark.parametrize(
    ("codec", "layout"),
    [
        ("ac3", "5.1(side)"),
        ("ac3", "quad(side)"),
        ("aac", "quad"),
        ("flac", "5.0(side)"),
        ("pcm_s16le", "hexagonal"),
    ],
)
def test_each_channel_of_any_layout_comes_out_at_its_place(tmp_path, codec, layout):
    path = encode(
        tmp_path / "a.mov" if codec.startswith("pcm") else tmp_path / "a.mkv",
        count_up(25),
        audio=tones(layout),
        audio_codec=codec,
        audio_layout=layout,
    )
    clip = Clip(path)
    audio = clip.audio(Fraction(1))
    assert (clip.info.audio.layout, audio.layout) == (layout, layout)
    assert pitches(audio.samples) == pitches(tones(layout))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_one_is_heard_and_named(tmp_path, name, default):
    tracks = {"quiet": beep(0.2, 1), "loud": beep(0.7, 1)}
    clip = Clip(encode_tracks(tmp_path / name, count_up(25), tracks, default))
    assert beep_time(clip.audio(Fraction(1)).samples, 48000) == pytest.approx([0.2, 0.7][default], abs=0.003)
    (note,) = clip.checked_audio(Fraction(1)).notes
    assert note.startswith(f"has 2 audio tracks; the default one, number {default + 1}")
    assert name == "a.mp4" or ["quiet", "loud"][default] in note  # MP4 has no titles of tracks


def test_a_title_in_another_encoding_than_utf_8_loses_its_other_letters_only(tmp_path):
    path = encode_tracks(
        tmp_path / "a.mkv", count_up(5), {"Music": beep(0.1, 0.2), "Kommentare": beep(0.1, 0.2)}, 1
    )
    path.write_bytes(path.read_bytes().replace(b"Kommentare", "Ko\xf6\xe4entare".encode("latin-1")))
    (note,) = Clip(path).info.audio_notes
    assert note == "has 2 audio tracks; the default one, number 2 (Koentare), is heard"


def test_sound_that_can_be_decoded_has_no_notes(tmp_path):
    checked = clip_with(tmp_path, beep(0.5, 2)).checked_audio(Fraction(2))
    assert checked.notes == ()
    assert checked.audio.count == 96000


def test_damaged_sound_is_left_out_and_noted(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(50), audio=tones("stereo", 2))
    clip = Clip(damage_packets(path, range(90), "audio"))
    checked = clip.checked_audio(Fraction(2))
    assert checked.audio is None
    assert checked.notes == ("has damaged audio that can't be decoded; it is left out",)


def test_a_damaged_part_of_the_sound_is_silent_and_noted(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(50), audio=tones("stereo", 2))
    clip = Clip(damage_packets(path, range(40, 60), "audio"))
    checked = clip.checked_audio(Fraction(2))
    samples = checked.audio.read().samples
    assert samples[:, 44000:60000].abs().max() == 0
    assert pitches(samples[:, :40000]) == [400, 500]
    assert checked.notes == ("has damaged audio: 0.43 s can't be decoded and are silent",)
    assert clip.checked_audio(Fraction(1, 2)).notes == ()  # the damage is outside of what is used


def test_blocks_come_in_order_and_join_to_the_samples(tmp_path):
    stream = clip_with(tmp_path, beep(1.5, 2), audio_gap=(0.5, 1), **PCM).stream_audio(Fraction(2))
    blocks = list(stream.blocks())
    ends = [at + block.shape[1] for at, block in blocks]
    assert all(at >= end for (at, _), end in zip(blocks[1:], ends, strict=False))
    samples = stream.read().samples
    assert all(torch.equal(samples[:, at : at + block.shape[1]], block) for at, block in blocks)
    assert sum(block.shape[1] for _, block in blocks) == pytest.approx(72000, abs=2048)  # not the gap


def test_a_repeated_stream_begins_again_at_the_exact_sample():
    stream = Audio(torch.arange(1, 6).float().view(1, 5), 5).stream().repeated(13)
    assert stream.read().samples.tolist() == [[1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3]]
