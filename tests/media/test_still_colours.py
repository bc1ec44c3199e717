"""Colours and depth of stills: ICC profiles, CMYK, HDR tags, 16 bits."""

import io

import numpy as np
import pytest
from make_profiles import ADOBE_RGB, P3, SRGB, deep_png, deep_tiff, in_srgb, profile
from PIL import Image, ImageCms, features

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip
from liveportrait_v2v.media.light import Light

RGB = np.array([[[200, 120, 100], [90, 140, 95], [60, 70, 160], [128, 128, 128], [255, 255, 255], [0, 0, 0]]])
ROUNDED = ("has 16 bits a colour; they are rounded to 8",)


def stored(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file


def frame_of(clip: Clip, **options) -> np.ndarray:
    return next(clip.chunks(**options)).frames[0].numpy()


@pytest.mark.parametrize(
    ("name", "primaries", "gamma"), [("Display P3", P3, None), ("Adobe RGB (1998)", ADOBE_RGB, 2.19921875)]
)
def test_the_colours_of_a_profile_are_converted_to_srgb(name, primaries, gamma):
    file = stored(Image.fromarray(RGB.astype(np.uint8)), icc_profile=profile(name, primaries, gamma))
    clip = Clip(file)
    wanted = in_srgb(RGB, primaries, gamma)
    assert np.abs(wanted - RGB).max() > 10
    assert np.abs(frame_of(clip) - wanted).max() <= 1.01
    assert clip.info.notes == (f"has the colours of {name}; they are converted to sRGB",)


def test_a_profile_of_srgb_changes_and_says_nothing():
    for icc in (
        profile("anything", SRGB),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ):
        clip = Clip(stored(Image.fromarray(RGB.astype(np.uint8)), icc_profile=icc))
        assert (frame_of(clip) == RGB).all()
        assert clip.info.notes == ()


def test_alpha_stays_beside_a_profile():
    pixels = np.dstack([RGB.astype(np.uint8), np.array([[0, 50, 100, 150, 200, 255]], np.uint8)])
    clip = Clip(stored(Image.fromarray(pixels), icc_profile=profile("Display P3", P3)))
    shown = frame_of(clip, alpha=True)
    assert (shown[..., 3] == pixels[..., 3]).all()
    assert np.abs(shown[..., :3] - in_srgb(RGB, P3)).max() <= 1.01


def test_a_palette_has_the_colours_of_its_profile():
    picture = Image.fromarray(RGB.astype(np.uint8)).quantize(6)
    clip = Clip(stored(picture, icc_profile=profile("Display P3", P3)))
    wanted = in_srgb(np.asarray(picture.convert("RGB")), P3)
    assert np.abs(frame_of(clip) - wanted).max() <= 1.01


def test_grey_has_the_curve_of_its_profile():
    grey = np.arange(0, 256, 15, dtype=np.uint8)[None]
    clip = Clip(stored(Image.fromarray(grey), icc_profile=profile("Gamma 1.8", gamma=1.8)))
    wanted = in_srgb(grey[..., None].repeat(3, 2), SRGB, 1.8)
    assert np.abs(frame_of(clip) - wanted).max() <= 1.5
    assert clip.info.notes == ("has the colours of Gamma 1.8; they are converted to sRGB",)


@pytest.mark.parametrize("icc", [b"nonsense" * 40, profile("Grey", gamma=1.8)])
def test_a_profile_that_does_not_fit_is_ignored_with_a_word(icc):
    clip = Clip(stored(Image.fromarray(RGB.astype(np.uint8)), icc_profile=icc))
    assert (frame_of(clip) == RGB).all()
    assert clip.info.notes == ("has a colour profile that does not fit or can't be read; it is ignored",)


def test_without_littlecms_a_profile_is_noted(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)
    clip = Clip(stored(Image.fromarray(RGB.astype(np.uint8)), icc_profile=profile("Display P3", P3)))
    assert (frame_of(clip) == RGB).all()
    assert clip.info.notes == (
        "has a colour profile, and Pillow lacks LittleCMS here; its colours are taken as sRGB",
    )


def test_every_frame_of_an_animation_has_the_colours_of_its_profile():
    pictures = [Image.fromarray(np.roll(RGB, k, 1).astype(np.uint8).repeat(8, 0)) for k in range(3)]
    options = {"save_all": True, "append_images": pictures[1:], "duration": 100}
    clip = Clip(stored(pictures[0], icc_profile=profile("Display P3", P3), **options))
    (chunk,) = clip.chunks()
    for picture, frame in zip(pictures, chunk.frames.numpy(), strict=True):
        assert np.abs(frame - in_srgb(np.asarray(picture), P3)).max() <= 1.01
    assert clip.info.notes == ("has the colours of Display P3; they are converted to sRGB",)


def test_cmyk_without_a_profile_is_noted():
    clip = Clip(stored(Image.new("RGB", (8, 8), (200, 40, 40)).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(frame_of(clip).astype(int) - (200, 40, 40)).max() <= 3
    assert clip.info.notes == (
        "has the colours of CMYK without a profile; they are converted by the plain formula",
    )


def test_adobe_rgb_by_exif_alone_is_noted():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    clip = Clip(stored(Image.fromarray(RGB.astype(np.uint8)), "JPEG", exif=exif))
    assert clip.info.notes == ("is tagged as Adobe RGB, without a profile; its colours are taken as sRGB",)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_in_a_png_are_rounded(channels):
    levels = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    clip = Clip(io.BytesIO(deep_png(levels)))
    wanted = np.round(levels / 257)
    shown = frame_of(clip, alpha=True)
    assert (shown[..., :3] == (wanted[..., :3] if channels > 2 else wanted[..., :1])).all()
    assert (shown[..., 3] == (wanted[..., -1] if channels in (2, 4) else 255)).all()
    assert clip.info.notes == ROUNDED


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_in_a_tiff_are_rounded(channels):
    levels = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    clip = Clip(io.BytesIO(deep_tiff(levels)))
    assert (frame_of(clip, alpha=True)[..., :channels] == np.round(levels / 257)).all()
    assert clip.info.notes == ROUNDED


def test_premultiplied_colours_become_straight():
    levels = np.array([[[10000, 20000, 30000, 32768], [0, 0, 0, 0]]])
    clip = Clip(io.BytesIO(deep_tiff(levels, premultiplied=True)))
    assert frame_of(clip, alpha=True).tolist() == [[[78, 156, 233, 128], [0, 0, 0, 0]]]


def test_sixteen_bits_are_upright_and_have_the_colours_of_their_profile():
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(np.array([[100, 200, 300]], np.uint16) * 200)
    clip = Clip(stored(grey, exif=exif, icc_profile=profile("Gamma 1.8", gamma=1.8)))
    wanted = in_srgb(np.round(np.array([100, 200, 300]) * 200 / 257)[:, None].repeat(3, 1), SRGB, 1.8)
    shown = frame_of(clip)
    assert shown.shape == (3, 1, 3)
    assert np.abs(shown[:, 0] - wanted).max() <= 1.5


def test_sixteen_bits_cut_short_are_truncated():
    data = deep_png(np.random.default_rng(0).integers(0, 65536, (64, 64, 3)))
    with pytest.raises(MediaError, match="truncated"):
        frame_of(Clip(io.BytesIO(data[: len(data) // 2])))


def test_an_hdr_png_is_tone_mapped_like_a_clip():
    levels = np.linspace(0, 65535, 64).round().astype(np.uint16)[None, :, None].repeat(3, 2)
    bt2020_pq = bytes([9, 16, 0, 1])
    clip = Clip(io.BytesIO(deep_png(levels, bt2020_pq)))
    light = Light("PQ", "BT.2020")
    assert (frame_of(clip) == light.to_bt709(levels)).all()
    assert clip.info.notes == (light.note, *ROUNDED)


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (np.array([[0, 255]], np.float32), "0 to 1, and are 0 to 255"),
        (np.array([[-0.5, 1]], np.float32), "0 to 1, and are -0.5 to 1"),
        (np.array([[0, np.nan]], np.float32), "0 to 1, and are nan to nan"),
        (np.array([[0, 1 << 20]], np.int32), "0 to 65535, and are 0 to 1.04858e"),
    ],
)
def test_grey_levels_that_may_mean_anything_are_refused(levels, words):
    with pytest.raises(MediaError, match=f"its grey levels must be {words}.*; save it with 8 bits"):
        frame_of(Clip(stored(Image.fromarray(levels), "TIFF")))


def test_further_pages_are_noted():
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    clip = Clip(stored(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert frame_of(clip)[0, 0].tolist() == [255, 0, 0]
    assert clip.info.notes == ("has 3 pages; the first one is shown",)


def test_a_picture_before_an_animation_is_no_frame_of_it():
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"save_all": True, "append_images": pictures[1:], "duration": 100, "default_image": True}
    clip = Clip(stored(pictures[0], **options))
    (chunk,) = clip.chunks()
    assert clip.info.frame_count == 2
    assert chunk.frames[:, 0, 0].tolist() == [[0, 255, 0], [0, 0, 255]]
