"""Pictures and animations that Pillow reads: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import MediaError
from .colour import fit_size, over_black
from .info import rounding_note
from .profiles import Colours
from .source import Source, check_size
from .timeline import Timeline, make_timeline

Image.init()  # registers all formats; builds of Pillow differ in which they know
_FORMATS = sorted({"PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"} & set(Image.OPEN))
_ANIMATED = ("WEBP", "GIF", "PNG", "AVIF")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_ORIENTATION_TAG, _BITS_TAG, _EXTRA_SAMPLES_TAG = 0x0112, 258, 338
_PREMULTIPLIED = 1  # of the extra samples of TIFF


@dataclass(frozen=True)
class Picture:
    """Facts about a picture file.

    Attributes:
        width, height: the upright size.
        timeline: of an animation, None for a still.
        has_alpha, notes: as in `ClipInfo`.
    """

    width: int
    height: int
    timeline: Timeline | None
    has_alpha: bool
    notes: tuple[str, ...]


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
        notes = (*Colours.of(source, image).notes, *_notes(source, image))
        if _is_animation(image):
            unit = 10 if image.format == "GIF" else 1
            units = [milliseconds // unit for milliseconds in _durations(source, image)]
            ticks = np.cumsum([0, *units[:-1]], dtype=np.int64)
            timeline = make_timeline(ticks, Fraction(unit, 1000), units[-1], exact=True)
            return Picture(width, height, timeline, alpha, notes)
        sideways = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        width, height = (height, width) if sideways else (width, height)
        return Picture(width, height, None, alpha, notes)


def read_still(source: Source, max_side: int, straight: bool = False) -> np.ndarray:
    """Read the picture as uint8 [H, W, 3], upright by its EXIF orientation, with alpha over black.

    Where `straight`, a picture with alpha is [H, W, 4] with straight colours.

    Raises:
        MediaError: damaged or truncated.
    """
    with _opened(source) as image:
        converted = _converted(source, image, Colours.of(source, image))
        converted.getexif().update({_ORIENTATION_TAG: image.getexif().get(_ORIENTATION_TAG, 1)})
        return _pixels(ImageOps.exif_transpose(converted), max_side, straight)


def animation_pictures(
    source: Source, wanted: np.ndarray, max_side: int, straight: bool = False
) -> Generator[tuple[np.ndarray, int], None, None]:
    """Yield the wanted frames of an animation, like `decode.rgb_pictures` for a video.

    Raises:
        MediaError: damaged or truncated.
    """
    numbers, repeats = np.unique(wanted, return_counts=True)
    with _opened(source) as image:
        size, colours, first = image.size, Colours.of(source, image), _first_frame(image)
        for number, repeat in zip(numbers.tolist(), repeats.tolist(), strict=True):
            image.seek(first + number)
            pixels = _pixels(_converted(source, image, colours), max_side, straight)
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


def _is_animation(image: Image.Image) -> bool:
    frames = getattr(image, "n_frames", 1)  # which only some formats have
    return image.format in _ANIMATED and frames - _first_frame(image) > 1


def _first_frame(image: Image.Image) -> int:
    """Return Pillow's number of an animation's first frame: in some of PNG the picture before it is no part of it."""
    return int(getattr(image, "default_image", False))


def _notes(source: Source, image: Image.Image) -> Iterator[str]:
    """Yield notes as in `ClipInfo`, about depth and further pictures in the file."""
    bits = _bits(source, image)
    if bits > 8:
        yield rounding_note(bits)
    pages = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and pages > 1:
        yield f"has {pages} pages; the first one is shown"


def _bits(source: Source, image: Image.Image) -> int:
    """Return the bits of a colour as they are stored."""
    if image.format == "PNG":
        return source.head(25)[24]
    if image.format == "TIFF":
        stored = getattr(image, "tag_v2", {}).get(_BITS_TAG, (8,))
        return int(max(stored) if isinstance(stored, tuple) else stored)
    if image.format == "AVIF":
        found = re.search(rb"av1C..(.)", source.head(4096), re.DOTALL)
        flags = found[1][0] if found else 0
        return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    return {"F": 32, "I": 16}.get(image.mode, 8)


def _converted(source: Source, image: Image.Image, colours: Colours) -> Image.Image:
    """Return a picture as RGB or RGBA of 8 bits a colour, in sRGB."""
    deep = _deep(source, image) if _is_deep(source, image) else None
    if colours.light is None:
        return colours.converted(
            _eight_bits(source, image) if deep is None else Image.fromarray(_rounded(deep))
        )
    if deep is None:
        deep = np.asarray(colours.converted(_eight_bits(source, image))).astype(np.uint16) * 257
    rgb = colours.light.to_bt709(deep[..., :3])
    return Image.fromarray(np.concatenate((rgb, _rounded(deep[..., 3:])), 2))


def _is_deep(source: Source, image: Image.Image) -> bool:
    """Return whether a still has 16 bits a colour that Pillow cuts to 8; it keeps those of greyscale TIFF."""
    if _bits(source, image) != 16 or _is_animation(image):
        return False
    return image.format == "PNG" or (image.format == "TIFF" and image.mode in ("RGB", "RGBA"))


def _deep(source: Source, image: Image.Image) -> np.ndarray:
    """Read a picture of 16 bits a colour as uint16 [H, W, 3 or 4], by FFmpeg.

    Raises:
        MediaError: damaged or truncated, or FFmpeg can't read it.
    """
    image.load()  # FFmpeg shows what there is of a truncated one
    channels = 4 if image.has_transparency_data else 3
    try:
        with source.container() as container:
            frame = next(container.decode(video=0))
            plane = frame.reformat(format="rgba64le" if channels == 4 else "rgb48le").planes[0]
    except (MediaError, av.error.FFmpegError, StopIteration) as error:
        raise MediaError(
            source.name, f"its 16 bits a colour can't be read ({error}); save it with 8 bits"
        ) from error
    rows = np.frombuffer(memoryview(plane), np.uint16).reshape(frame.height, -1)
    pixels = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    if channels == 4 and getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES_TAG, (0,))[0] == _PREMULTIPLIED:
        scale = 65535 / np.maximum(pixels[..., 3:], 1)
        colours = np.minimum(np.round(pixels[..., :3] * scale), 65535).astype(np.uint16)
        pixels = np.concatenate((colours, pixels[..., 3:]), 2)
    return pixels


def _rounded(deep: np.ndarray) -> np.ndarray:
    """Return levels of 16 bits as uint8."""
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _eight_bits(source: Source, image: Image.Image) -> Image.Image:
    """Convert greyscale of more than 8 bits to 8 bits; Pillow's own conversion clips it.

    Raises:
        MediaError: levels that are out of range, so that it is unknown which one is white.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    grey, white = np.asarray(image), 1 if image.mode == "F" else 65535
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= white):
        raise MediaError(
            source.name,
            f"its grey levels must be 0 to {white}, and are {low:g} to {high:g}; save it with 8 bits",
        )
    return Image.fromarray(np.floor(grey * (255 / white) + 0.5).astype(np.uint8))


def _pixels(image: Image.Image, max_side: int, straight: bool) -> np.ndarray:
    """Return RGB or RGBA as an array of this size, with alpha over black unless it is to stay."""
    if image.mode == "RGBA" and not straight:
        image = Image.fromarray(over_black(np.asarray(image)))
    size = fit_size(*image.size, max_side)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _durations(source: Source, image: Image.Image) -> list[int]:
    """Return the display time of each frame in milliseconds; up to 10 ms means 100, as in browsers."""
    frames = getattr(image, "n_frames", 1) - _first_frame(image)
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
