"""A file that can't be read is a MediaError with its name and the reason."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from make_clips import beep, count_up, damage_packets, encode, encode_audio

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip, probe


def error_of(source, **options):
    with pytest.raises(MediaError) as caught:
        list(Clip(source, **options).chunks())
    assert ("file object" if hasattr(source, "read") else str(source)) in str(caught.value)
    return caught.value.reason


def test_a_missing_file(tmp_path):
    assert "no such file" in error_of(tmp_path / "missing.mp4")


def test_a_directory(tmp_path):
    assert "directory" in error_of(tmp_path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty" in error_of(path)
    assert "empty" in error_of(io.BytesIO())


def test_a_file_that_may_not_be_read(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(2))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("runs as root, who may read everything")
    assert "can't be opened" in error_of(path)


def test_an_impossible_file_name():
    with pytest.raises(MediaError, match=r"a b\.mp4: can't be opened"):
        Clip("a\0b.mp4").info  # noqa: B018


def test_a_device_or_pipe(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a plain file" in error_of(tmp_path / "pipe.mp4")


def test_a_file_larger_than_the_limit(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(5))
    assert "limit of 100 bytes" in error_of(path, max_bytes=100)
    assert "limit of 100 bytes" in error_of(io.BytesIO(path.read_bytes()), max_bytes=100)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm", "txt", "gif", "png"])
def test_garbage_of_any_extension(tmp_path, suffix):
    path = tmp_path / f"garbage.{suffix}"
    path.write_bytes(np.random.default_rng(1).bytes(20000))
    assert "not a video" in error_of(path)


def test_a_text_file(tmp_path):
    for suffix in ("txt", "nfo", "mp4"):
        path = tmp_path / f"notes.{suffix}"
        path.write_text("Once upon a time\n" * 200)
        assert "not a video" in error_of(path)


def test_a_file_object_in_text_mode():
    assert "binary" in error_of(io.StringIO("text"))


def test_audio_only(tmp_path):
    path = encode_audio(tmp_path / "song.m4a", beep(0.1, 1))
    assert "no video stream" in error_of(path)
    assert "audio only" in error_of(path)


def test_a_video_without_frames(tmp_path):
    path = encode(tmp_path / "a.avi", count_up(1), codec="mjpeg", pix_fmt="yuvj420p", audio=beep(0, 1))
    data = path.read_bytes()
    # Rename the one video chunk and its index entry to an unknown type.
    path.write_bytes(data.replace(b"00dc", b"JUNK"))
    assert "frame" in error_of(path)


def test_an_unknown_codec(tmp_path):
    path = encode(tmp_path / "a.mp4", count_up(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
    assert "codec" in error_of(path)


def test_a_heic_picture_is_named_as_such(tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert "HEIC" in error_of(path)


def test_a_playlist_does_not_lead_to_other_files(tmp_path):
    encode(tmp_path / "a.ts", count_up(3))
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    assert "playlist" in error_of(path)
    path.write_text("ffconcat version 1.0\nfile a.ts\n")
    assert "playlist" in error_of(path)


@pytest.mark.parametrize("name", ["%03d.mp4", "a:b.mp4", "ein Übel.mp4", "concat:a|b.mp4"])
def test_names_that_mean_something_to_ffmpeg_are_just_names(tmp_path, name):
    if os.name == "nt" or not (name.isascii() or sys.getfilesystemencoding() == "utf-8"):
        pytest.skip("not a file name there")
    assert Clip(encode(tmp_path / "plain.mp4", count_up(3)).rename(tmp_path / name)).info.frame_count == 3


def test_frames_that_are_too_large_are_refused_by_the_header_before_any_is_decoded(tmp_path):
    path = damage_packets(encode(tmp_path / "a.mp4", count_up(3)), range(3))
    assert "no frame can be decoded" in error_of(path)
    reason = error_of(path, max_pixels=10_000)
    assert "frames of 144x96 are too large" in reason
    assert "0.01 million pixels are read here; scale it down first" in reason


def test_a_relative_path(tmp_path, monkeypatch):
    encode(tmp_path / "a.mp4", count_up(3))
    monkeypatch.chdir(tmp_path)
    assert Clip("a.mp4").info.frame_count == Clip(Path("a.mp4")).info.frame_count == 3


def test_a_video_too_large_to_read_is_refused_from_its_header(tmp_path, monkeypatch):
    path = encode(
        tmp_path / "wide.mkv", [np.zeros((16, 17000, 3), np.uint8)], codec="ffv1", pix_fmt="yuv420p"
    )
    monkeypatch.setattr(probe, "_pictures", lambda *_: pytest.fail("a picture was decoded"))
    assert "17000x16 are too large" in error_of(path)
