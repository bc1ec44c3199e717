"""Still pictures and animations."""

import io
from fractions import Fraction

import numpy as np
import pytest
from make_clips import corners_of, number_of, numbered, numbers_of, quadrants
from PIL import Image

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip


def frame_of(source, **options):
    chunks = list(Clip(source).chunks(**options))
    assert len(chunks) == 1
    assert len(chunks[0].frames) == 1
    return chunks[0].frames[0].numpy()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "ppm"])
def test_a_still_is_one_frame_without_a_rate(tmp_path, suffix):
    path = tmp_path / f"still.{suffix}"
    Image.fromarray(quadrants()).save(path)
    clip = Clip(path)
    info = clip.info
    assert info.is_still
    assert info.rate is None
    assert info.duration is None
    assert info.frame_count == 1
    assert (info.width, info.height) == (96, 64)
    assert info.audio is None
    assert corners_of(frame_of(path)) == "rgbw"
    assert clip.output_rate() is None
    assert clip.output_count() == 1
    assert clip.audio(Fraction(1)) is None


def test_a_still_can_be_a_file_object():
    file = io.BytesIO()
    Image.fromarray(quadrants()).save(file, "PNG")
    assert corners_of(frame_of(file)) == "rgbw"


def test_a_still_ignores_time(tmp_path):
    Image.fromarray(quadrants()).save(tmp_path / "a.png")
    clip = Clip(tmp_path / "a.png", start=5, duration=1)
    chunk = next(clip.chunks(rate=Fraction(30), skip=3))
    assert chunk.times == [0]
    assert chunk.index == 0


def test_a_still_is_scaled_to_its_longest_side(tmp_path):
    Image.fromarray(quadrants()).save(tmp_path / "a.png")
    assert frame_of(tmp_path / "a.png", max_side=48).shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("orientation", "corners"),
    [(1, "rgbw"), (2, "grwb"), (3, "wbgr"), (4, "bwrg"), (5, "rbgw"), (6, "brwg"), (7, "wgbr"), (8, "gwrb")],
)
def test_exif_orientation_is_honoured(tmp_path, orientation, corners):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(quadrants()).save(path, exif=exif, quality=95)
    info = Clip(path).info
    frame = frame_of(path)
    assert (info.width, info.height) == ((96, 64) if orientation < 5 else (64, 96))
    assert frame.shape == (info.height, info.width, 3)
    assert corners_of(frame) == corners


def test_transparent_parts_of_a_still_are_composited_over_black(tmp_path):
    picture = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    picture[:, 4:, 3] = 0
    picture[:4, :, 3] //= 2
    for suffix, options in (("png", {}), ("webp", {"lossless": True, "exact": True})):
        Image.fromarray(picture).save(tmp_path / f"a.{suffix}", **options)
        frame = frame_of(tmp_path / f"a.{suffix}")
        assert frame[6, 1].tolist() == [200, 100, 50]
        assert frame[2, 1].tolist() == [100, 50, 25]
        assert frame[6, 6].tolist() == [0, 0, 0]


def test_a_palette_with_a_transparent_colour_is_composited_over_black(tmp_path):
    picture = Image.fromarray(quadrants()).quantize(4)
    white = picture.getpixel((90, 60))
    picture.save(tmp_path / "a.png", transparency=white)
    frame = frame_of(tmp_path / "a.png")
    assert frame[60, 90].tolist() == [0, 0, 0]
    assert frame[10, 10].tolist() == [220, 20, 20]


def test_sixteen_bit_greyscale_keeps_its_brightness(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    frame = frame_of(tmp_path / "a.png")
    assert abs(frame[0, :, 0] - ramp[0] / 257).max() <= 0.5
    assert (frame[..., 0] == frame[..., 2]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I", "F"])
def test_other_modes_come_out_as_rgb(tmp_path, mode):
    grey = np.tile(np.array([0, 255], np.uint8).repeat(8), (8, 1))
    if mode == "I":
        picture = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        picture = Image.fromarray(grey).convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "F", "I") else "a.png")
    picture.save(path)
    frame = frame_of(path)
    assert frame.shape == (8, 16, 3)
    assert frame[:, :8].max() <= 2
    assert frame[:, 8:].min() >= 253


DURATIONS = [100, 300, 50, 100, 250, 200]


def animation(path, durations=DURATIONS, **options):
    pictures = [Image.fromarray(numbered(n)) for n in range(len(durations))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)
    return path


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_an_animation_keeps_its_true_uneven_durations(tmp_path, suffix):
    clip = Clip(animation(tmp_path / f"a.{suffix}"))
    info = clip.info
    assert not info.is_still
    assert info.duration == 1
    assert info.rate == 6
    assert info.frame_count == 6
    starts = np.cumsum([0, *DURATIONS[:-1]])
    assert numbers_of(clip.chunks(rate=Fraction(20))) == [
        int(np.searchsorted(starts, k * 50, side="right")) - 1 for k in range(20)
    ]


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_an_even_animation_gives_its_frames_as_they_are(tmp_path, suffix):
    clip = Clip(animation(tmp_path / f"a.{suffix}", [40] * 9))
    assert clip.info.rate == 25
    assert numbers_of(clip.chunks(4)) == list(range(9))
    assert numbers_of(clip.chunks(skip=2, every_nth=3)) == [2, 5, 8]


def test_an_animation_can_be_trimmed_and_scaled(tmp_path):
    clip = Clip(animation(tmp_path / "a.webp", [40] * 20), start=Fraction(2, 5), duration=Fraction(1, 5))
    chunk = next(clip.chunks(max_side=72))
    assert numbers_of([chunk]) == [10, 11, 12, 13, 14]
    assert chunk.frames.shape == (5, 48, 72, 3)


def test_a_gif_with_no_durations_runs_at_ten_frames_a_second(tmp_path):
    assert Clip(animation(tmp_path / "a.gif", [0] * 5)).info.rate == 10


def test_transparent_parts_of_an_animation_are_composited_over_black(tmp_path):
    frames = [np.dstack([numbered(n), np.full((96, 144), 255, np.uint8)]) for n in (1, 2)]
    for frame in frames:
        frame[80:] = (255, 255, 255, 0)
    pictures = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    shown = next(Clip(path).chunks()).frames.numpy()
    assert shown[:, 82:].max() == 0
    assert [number_of(frame) for frame in shown] == [1, 2]


def test_a_real_animated_webp_is_read_completely(clips):
    clip = Clip(clips["ltxv"])
    assert sum(len(chunk.frames) for chunk in clip.chunks()) == clip.info.frame_count == 75


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_still_cut_short_is_truncated(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(MediaError, match=r"truncated|damaged"):
        frame_of(path)


def test_an_animation_cut_short_is_truncated(tmp_path):
    for suffix in ("webp", "gif"):
        path = animation(tmp_path / f"a.{suffix}", [40] * 20)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(MediaError, match=r"truncated|damaged"):
            numbers_of(Clip(path).chunks())


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20000, 10)).save(path)
    with pytest.raises(MediaError, match="16384"):
        Clip(path).info  # noqa: B018


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (16000, 8000)).save(path)
    with pytest.raises(MediaError, match=r"16000x8000 are too large: .* 67.1 million pixels are read"):
        Clip(path).info  # noqa: B018


def test_an_animation_whose_frames_change_in_size_is_an_error(tmp_path):
    path = animation(tmp_path / "a.gif", [100] * 3)
    data = bytearray(path.read_bytes())
    descriptor = data.index(b"\x2c", data.index(b"\x21\xf9", data.index(b"\x21\xf9") + 1))
    data[descriptor + 7 : descriptor + 9] = (300).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"size|damaged"):
        numbers_of(Clip(path).chunks())
