"""Pictures and animations that Pillow reads: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import MediaError
from .colour import fit_size, over_black
from .source import Source, check_size
from .timeline import Timeline, make_timeline

Image.init()  # registers all formats; builds of Pillow differ in which they know
_FORMATS = sorted({"PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"} & set(Image.OPEN))
_ANIMATED = ("WEBP", "GIF", "PNG", "AVIF")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Picture:
    """Facts about a picture file: the upright size, the timeline of an animation (None for a still), and alpha."""

    width: int
    height: int
    timeline: Timeline | None
    has_alpha: bool


def is_picture(source: Source) -> bool:
    """Return whether the first bytes are those of a format that Pillow reads."""
    head = source.head(16)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    avif = head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis")
    # Motion JPEG begins like a JPEG.
    return (head.startswith(_MAGIC) and source.suffix not in (".mjpeg", ".mjpg")) or webp or avif


def probe_picture(source: Source) -> Picture:
    """Read facts about a picture.

    Raises:
        MediaError: damaged, or too large.
    """
    with _opened(source) as image:
        width, height = image.size
        alpha = image.has_transparency_data
        if image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1:
            unit = 10 if image.format == "GIF" else 1
            units = [milliseconds // unit for milliseconds in _durations(source, image)]
            ticks = np.cumsum([0, *units[:-1]], dtype=np.int64)
            timeline = make_timeline(ticks, Fraction(unit, 1000), units[-1], exact=True)
            return Picture(width, height, timeline, alpha)
        sideways = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        width, height = (height, width) if sideways else (width, height)
        return Picture(width, height, None, alpha)


def read_still(source: Source, max_side: int, straight: bool = False) -> np.ndarray:
    """Read the picture as uint8 [H, W, 3], upright by its EXIF orientation, with alpha over black.

    Where `straight`, a picture with alpha is [H, W, 4] with straight colours.

    Raises:
        MediaError: damaged or truncated.
    """
    with _opened(source) as image:
        return _pixels(ImageOps.exif_transpose(_eight_bits(image)), max_side, straight)


def animation_pictures(
    source: Source, wanted: np.ndarray, max_side: int, straight: bool = False
) -> Generator[tuple[np.ndarray, int], None, None]:
    """Yield the wanted frames of an animation, like `decode.rgb_pictures` for a video.

    Raises:
        MediaError: damaged or truncated.
    """
    numbers, repeats = np.unique(wanted, return_counts=True)
    with _opened(source) as image:
        size = image.size
        for number, repeat in zip(numbers.tolist(), repeats.tolist(), strict=True):
            image.seek(number)
            pixels = _pixels(image, max_side, straight)
            if image.size != size:
                raise ValueError("its frames differ in size")
            yield pixels, repeat


@contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    """Open the picture with Pillow, whose errors inside the block become MediaErrors."""
    with source.open() as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the size is checked here, and damage is an error anyway
                image = Image.open(file, formats=_FORMATS)
            check_size(source.name, *image.size, source.max_pixels)
            yield image
        except Image.DecompressionBombError as error:
            raise MediaError(source.name, f"the picture is too large: {error}") from error
        except UnidentifiedImageError as error:
            raise MediaError(
                source.name, "the picture can't be read: it is damaged or not a picture"
            ) from error
        except MediaError:
            raise
        except Exception as error:  # errors of Pillow's parsers on damaged files
            raise MediaError(source.name, f"the picture is truncated or damaged ({error})") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert greyscale of 16 bits or more to 8 bits; Pillow's own conversion clips it."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        eight = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        eight = Image.fromarray(np.clip(np.asarray(image) * 255 + 0.5, 0, 255).astype(np.uint8))
    else:
        return image
    eight.info, eight._exif = image.info, image.getexif()
    return eight


def _pixels(image: Image.Image, max_side: int, straight: bool) -> np.ndarray:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if not straight:
            image = Image.fromarray(over_black(np.asarray(image)))
    else:
        image = image.convert("RGB")
    size = fit_size(*image.size, max_side)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _durations(source: Source, image: Image.Image) -> list[int]:
    """Return the display time of each frame in milliseconds; up to 10 ms means 100, as in browsers."""
    frames = getattr(image, "n_frames", 1)  # which only animated formats have
    with source.open() as file:
        data = file.read()
    if image.format == "WEBP":
        found = _webp_durations(data)
    elif image.format == "PNG":
        found = _apng_durations(data)
    else:
        found = []
        for number in range(frames):
            image.seek(number)
            if image.format == "AVIF":
                image.load()
            found.append(round(image.info.get("duration", 0)))
    if len(found) != frames:
        raise MediaError(source.name, f"truncated: {len(found)} of {frames} frames are there")
    return [duration if duration > 10 else 100 for duration in found]


def _webp_durations(data: bytes) -> list[int]:
    """Read the ANMF chunks (WebP container specification, "Animation"): 24 bits at offset 12."""
    found, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            found.append(int.from_bytes(data[at + 20 : at + 23], "little"))
        at += 8 + size + size % 2
    return found


def _apng_durations(data: bytes) -> list[int]:
    """Read the fcTL chunks (PNG specification, third edition, 11.3.6.2): a fraction of a second."""
    found, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"fcTL":
            numerator, denominator = struct.unpack(">HH", data[at + 28 : at + 32])
            found.append(round(1000 * numerator / (denominator or 100)))
        at += 12 + size
    return found
