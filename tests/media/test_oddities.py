"""Files as they come from phones, editors, browsers and broken disks."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import (
    beep,
    beep_time,
    corners_of,
    count_up,
    damage_packets,
    encode,
    encode_audio,
    number_of,
    numbered,
    numbers_of,
    quadrants,
    set_display_matrix,
    set_edit_list,
)
from PIL import Image

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip

UPRIGHT = "rgbw"


def encoder(name):
    """Skip the test if this build of FFmpeg can't make its clip."""
    if name not in av.codecs_available:
        pytest.skip(f"no encoder {name}")
    return name


@pytest.mark.parametrize(
    ("matrix", "size", "corners"),
    [
        ((1, 0, 0, 1), (96, 64), "rgbw"),
        ((0, 1, -1, 0), (64, 96), "brwg"),  # clockwise, as phones held upright write it
        ((-1, 0, 0, -1), (96, 64), "wbgr"),
        ((0, -1, 1, 0), (64, 96), "gwrb"),
        ((-1, 0, 0, 1), (96, 64), "grwb"),  # mirrored, as front cameras may
        ((1, 0, 0, -1), (96, 64), "bwrg"),
        ((0, 1, 1, 0), (64, 96), "rbgw"),
    ],
)
def test_a_rotated_phone_clip_comes_out_upright(tmp_path, matrix, size, corners):
    path = set_display_matrix(encode(tmp_path / "turned.mp4", [quadrants()] * 5), *matrix)
    clip = Clip(path)
    frame = next(clip.chunks()).frames[0]
    assert (clip.info.width, clip.info.height) == size
    assert frame.shape == (size[1], size[0], 3)
    assert corners_of(frame) == corners


def test_a_rotated_clip_is_scaled_by_its_upright_size(tmp_path):
    path = set_display_matrix(encode(tmp_path / "turned.mp4", [quadrants()] * 2), 0, 1, -1, 0)
    assert next(Clip(path).chunks(max_side=48)).frames.shape == (2, 48, 32, 3)


def test_a_rotated_anamorphic_clip_is_stretched_before_it_is_turned(tmp_path):
    path = encode(tmp_path / "turned.mp4", [quadrants()] * 2, aspect=Fraction(2))
    clip = Clip(set_display_matrix(path, 0, 1, -1, 0))
    assert (clip.info.width, clip.info.height) == (64, 192)
    assert corners_of(next(clip.chunks()).frames[0]) == "brwg"


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("b.mp4", "libx264", "yuv420p", {"bf": "3", "b-pyramid": "normal"}),
        ("open_gop.mp4", "libx264", "yuv420p", {"bf": "2", "x264-params": "open-gop=1:keyint=8"}),
        ("high10.mp4", "libx264", "yuv420p10le", {}),
        ("hevc10.mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
        ("444.mkv", "libx264", "yuv444p", {}),
        ("vp8.webm", "libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
        ("vp9.webm", "libvpx-vp9", "yuv420p", {}),
        ("prores.mov", "prores_ks", "yuv422p10le", {}),
        ("mpeg4.avi", "mpeg4", "yuv420p", {"bf": "2"}),
        ("h264.avi", "libx264", "yuv420p", {}),
        ("mpeg2.mpg", "mpeg2video", "yuv420p", {"bf": "2"}),
        ("h264.ts", "libx264", "yuv420p", {}),
        ("h264.flv", "libx264", "yuv420p", {}),
        ("elementary.h264", "libx264", "yuv420p", {}),
        ("motion.mkv", "mjpeg", "yuvj420p", {}),
    ],
)
def test_every_frame_of_a_kind_of_file_comes_out_once_at_its_rate(tmp_path, name, codec, pix_fmt, options):
    rate = Fraction(25) if codec == "mpeg4" else Fraction(24000, 1001)
    path = tmp_path / name
    encode(path, count_up(40), codec=encoder(codec), pix_fmt=pix_fmt, options=options, rate=rate)
    clip = Clip(path)
    assert clip.info.rate == rate
    assert clip.info.frame_count == 40
    assert numbers_of(clip.chunks()) == list(range(40))


@pytest.mark.parametrize("name", ["h264.avi", "h264.ts", "elementary.h264", "b.mkv"])
def test_a_trim_window_is_right_even_with_poor_timestamps(tmp_path, name):
    path = encode(tmp_path / name, count_up(60), options={"g": "10"})
    assert numbers_of(Clip(path, start=1, duration=Fraction(1, 5)).chunks()) == [25, 26, 27, 28, 29]


def test_ten_bit_colours_keep_their_values(tmp_path):
    path = encode(
        tmp_path / "ten.mp4", [quadrants()] * 2, pix_fmt="yuv420p10le", options={"qp": "0"}, tags=(6, 1)
    )
    frame = next(Clip(path).chunks()).frames[0].numpy().astype(int)
    expected = quadrants().astype(int)
    assert abs(frame[10::44, 10::76] - expected[10::44, 10::76]).max() <= 3


VFR = [0, 100, 133, 166, 400, 1000, 1010, 1500, 1533, 2000]


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_a_variable_frame_rate_keeps_its_timing(tmp_path, name):
    path = encode(tmp_path / name, count_up(10), pts=VFR, time_base=Fraction(1, 1000), options={"bf": "0"})
    clip = Clip(path)
    shown = numbers_of(clip.chunks(rate=Fraction(30)))
    assert shown[:60] == [max(n for n in range(10) if VFR[n] <= k * 1000 / 30 + 1) for k in range(60)]
    assert abs(len(shown) / 30 - clip.info.duration) < Fraction(1, 10)


def test_a_variable_frame_rate_comes_out_at_its_average_with_frame_k_at_k_over_rate(tmp_path):
    path = encode(tmp_path / "vfr.mp4", count_up(10), pts=VFR, time_base=Fraction(1, 1000))
    clip = Clip(path)
    chunks = list(clip.chunks(4))
    times = [time for chunk in chunks for time in chunk.times]
    assert 4 < clip.info.rate < 5.2
    assert times == [k / clip.info.rate for k in range(clip.info.frame_count)]
    assert numbers_of(chunks) == [max(n for n in range(10) if VFR[n] <= t * 1000 + 1) for t in times]


def test_a_browser_s_recording_without_a_duration_or_an_index_is_read_to_its_end(tmp_path):
    # A camera of 30 frames a second: MediaRecorder writes milliseconds, some late, and one frame is lost.
    late = [0, 4, -3, 6, 2, -5]
    pts = [max(0, round(n * 1000 / 30) + late[n % 6]) for n in range(60) if n != 20]
    path = encode(
        tmp_path / "camera.webm",
        [numbered(n) for n in range(60) if n != 20],
        codec=encoder("libvpx"),
        pts=pts,
        time_base=Fraction(1, 1000),
        container_options={"live": "1"},
        audio=beep(0.5, 2),
        audio_codec=encoder("libopus"),
    )
    with av.open(str(path)) as container:
        assert container.duration is None or container.duration <= 0
    clip = Clip(path)
    assert (clip.info.rate, clip.info.frame_count) == (30, 60)
    assert numbers_of(clip.chunks()) == [19 if n == 20 else n for n in range(60)]
    assert beep_time(clip.audio(Fraction(2)).samples, 48000) == pytest.approx(0.5, abs=0.02)


def test_an_edit_list_that_cuts_the_beginning_is_honoured(tmp_path):
    # The encoder's own edit begins at 1024 (two frames of 512 that B-frames delay it by).
    path = set_edit_list(encode(tmp_path / "cut.mp4", count_up(50)), 1024 + 5 * 512, 1000)
    clip = Clip(path)
    assert clip.info.frame_count == 25
    assert clip.info.duration == 1
    assert numbers_of(clip.chunks()) == list(range(5, 30))


def test_a_video_that_starts_late_still_starts_at_time_zero(tmp_path):
    path = encode(tmp_path / "late.mp4", count_up(20), pts=[n + 10 for n in range(20)], audio=beep(0.5, 2))
    chunk = next(Clip(path).chunks(20))
    assert chunk.times[0] == 0
    assert numbers_of([chunk]) == list(range(20))


def test_doubled_timestamps_are_replaced_by_the_average_rate(tmp_path):
    # Two streams of FLV data one after the other: the second begins at zero again.
    halves = [numbered(n) for n in range(50)]
    one = encode(tmp_path / "one.flv", halves[:25], options={"bf": "0"}).read_bytes()
    two = encode(tmp_path / "two.flv", halves[25:], options={"bf": "0"}).read_bytes()
    path = tmp_path / "joined.flv"
    path.write_bytes(one + two[13:])
    clip = Clip(path)
    assert clip.info.rate == 25
    assert numbers_of(clip.chunks()) == list(range(50))


def test_a_damaged_frame_is_replaced_by_the_one_before_it(tmp_path):
    path = encode(tmp_path / "damaged.avi", count_up(40), codec="mjpeg", pix_fmt="yuvj420p")
    shown = numbers_of(Clip(damage_packets(path, [20, 21])).chunks())
    assert shown == [*range(20), 19, 19, *range(22, 40)]


def test_a_damaged_key_frame_costs_no_frame_and_no_time(tmp_path):
    path = encode(tmp_path / "damaged.mp4", count_up(60), options={"g": "10", "bf": "0"})
    shown = numbers_of(Clip(damage_packets(path, [20])).chunks())
    assert len(shown) == 60
    assert shown[:20] == list(range(20))
    assert shown[30:] == list(range(30, 60))


def test_the_first_good_frame_is_shown_before_its_time(tmp_path):
    path = encode(tmp_path / "damaged.avi", count_up(10), codec="mjpeg", pix_fmt="yuvj420p")
    assert numbers_of(Clip(damage_packets(path, [0, 1])).chunks()) == [2, 2, *range(2, 10)]


def test_a_tail_that_cannot_be_decoded_is_a_truncated_file(tmp_path):
    path = encode(tmp_path / "tail.mp4", count_up(100), options={"g": "10", "bf": "0"})
    with pytest.raises(MediaError, match="truncated"):
        numbers_of(Clip(damage_packets(path, range(50, 100))).chunks())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.flv"])
@pytest.mark.parametrize("with_audio", [False, True])
def test_a_file_cut_short_is_truncated(tmp_path, name, with_audio):
    codec, audio_codec = ("libvpx-vp9", "libopus") if name == "a.webm" else ("libx264", "aac")
    path = encode(
        tmp_path / name,
        count_up(100),
        codec=codec,
        container_options={"movflags": "+faststart"} if name == "a.mp4" else {},
        audio=beep(1, 4) if with_audio else None,
        audio_codec=audio_codec,
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(MediaError, match="truncated"):
        numbers_of(Clip(path).chunks())


def test_a_recording_that_was_never_finished_is_truncated(tmp_path):
    data = encode(tmp_path / "a.mp4", count_up(50)).read_bytes()
    path = tmp_path / "unfinished.mp4"
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(MediaError, match=r"truncated.*moov"):
        Clip(path).info  # noqa: B018


def test_a_video_with_audio_that_ends_earlier_is_complete(tmp_path):
    path = encode(tmp_path / "a.mkv", count_up(100), audio=beep(0.5, 1))
    assert numbers_of(Clip(path).chunks()) == list(range(100))


def test_a_video_that_ends_before_its_audio_is_complete(tmp_path):
    path = encode(tmp_path / "a.mkv", count_up(25), audio=beep(0.5, 4))
    assert Clip(path).info.frame_count == 25


def alpha_frames():
    """Opaque number 5 in the left half, transparent white in the right one."""
    frame = np.dstack([numbered(5), np.full((96, 144), 255, np.uint8)])
    frame[:, 72:] = (255, 255, 255, 0)
    return [frame] * 3


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.mkv", "ffv1", "bgra"),
    ],
)
def test_transparent_parts_of_a_video_are_composited_over_black(tmp_path, name, codec, pix_fmt):
    path = encode(tmp_path / name, alpha_frames(), codec=encoder(codec), pix_fmt=pix_fmt, tags=(6, 1))
    frame = next(Clip(path).chunks()).frames[1].numpy()
    assert frame[:, 80:].max() <= 8
    assert number_of(np.hstack([frame[:, :72], frame[:, :72] * 0])) == 5


def test_half_transparent_parts_are_half_as_bright(tmp_path):
    frame = np.full((64, 64, 4), (200, 100, 50, 128), np.uint8)
    path = encode(tmp_path / "a.mov", [frame] * 2, codec="qtrle", pix_fmt="argb")
    assert next(Clip(path).chunks()).frames[0, 30, 30].tolist() == [100, 50, 25]


def test_a_cover_picture_is_not_a_video(tmp_path):
    cover = io.BytesIO()
    Image.fromarray(quadrants()).save(cover, "PNG")
    frame = b"\0image/png\0\3\0" + cover.getvalue()
    tag = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
    size = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    song = encode_audio(tmp_path / "bare.mp3", beep(0, 1), codec=encoder("mp3"))
    path = tmp_path / "song.mp3"
    path.write_bytes(b"ID3\3\0\0" + size + tag + song.read_bytes()[len(_id3(song)) :])
    with pytest.raises(MediaError, match="no video stream"):
        Clip(path).info  # noqa: B018


def _id3(path):
    """The ID3 tag that FFmpeg wrote at the beginning."""
    data = path.read_bytes()
    if data[:3] != b"ID3":
        return b""
    length = sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    return data[: 10 + length]


def test_a_clock_that_jumps_back_is_replaced_by_the_average_rate(tmp_path):
    halves = [numbered(n) for n in range(80)]
    clock = {"time_base": Fraction(1, 1000), "options": {"bf": "0"}}
    one = encode(tmp_path / "one.ts", halves[:40], pts=[40 * n for n in range(40)], **clock).read_bytes()
    two = encode(tmp_path / "two.ts", halves[40:], pts=[40 * n + 7 for n in range(40)], **clock).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(one + two)
    clip = Clip(path)
    assert clip.info.rate == 25
    assert numbers_of(clip.chunks()) == list(range(80))


@pytest.mark.parametrize("start", [0, Fraction(1, 5), Fraction(3, 5)])
def test_an_edited_clip_can_be_trimmed(tmp_path, start):
    path = encode(tmp_path / "cut.mp4", count_up(50), options={"g": "8"})
    clip = Clip(set_edit_list(path, 1024 + 11 * 512, 1200), start=start, duration=Fraction(1, 5))
    first = 11 + int(start * 25)
    assert numbers_of(clip.chunks()) == list(range(first, first + 5))


def test_a_video_that_starts_seconds_after_its_audio_is_complete(tmp_path):
    pts = [n + 75 for n in range(25)]
    for name in ("late.mp4", "late.mkv"):
        path = encode(tmp_path / name, count_up(25), pts=pts, audio=beep(3.5, 4))
        clip = Clip(path)
        assert numbers_of(clip.chunks()) == list(range(25))
        assert beep_time(clip.audio(Fraction(1)).samples, 48000) == pytest.approx(0.5, abs=0.003)


def test_a_second_audio_track_that_is_longer_does_not_make_the_video_truncated(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 144, 96, "yuv420p"
        tracks = [container.add_stream("pcm_s16le", rate=8000) for _ in range(2)]
        for track in tracks:
            track.codec_context.layout = "mono"
        for pixels in count_up(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(video.encode(None))
        for track, seconds in zip(tracks, (1, 4), strict=True):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * seconds), np.int16), layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    assert Clip(path).info.frame_count == 25


def test_a_damaged_key_frame_before_a_trim_window_is_avoided(tmp_path):
    path = encode(tmp_path / "damaged.mp4", count_up(60), options={"g": "10", "bf": "0"})
    clip = Clip(damage_packets(path, [30]), start=Fraction(42, 25), duration=Fraction(3, 25))
    assert numbers_of(clip.chunks()) == [42, 43, 44]
