"""Conversion of a decoded frame to upright RGB of a given size: matrix, range, alpha, scaling and rotation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .light import DEEP_WHITE, Light

# swscale's numbers of the YUV matrices (SWS_CS_*), by FFmpeg's tag (AVCOL_SPC_*).
_BT709, _BT601 = 1, 5
_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG
BICUBIC = 4  # SWS_BICUBIC
# Without these two, swscale's fast path to RGB truncates: one level darker each time a clip is decoded.
ROUNDED = 0x40000 | 0x2000  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT
_DISPLAY_MATRIX = "DISPLAYMATRIX"
# Formats of RGB by whether they have an alpha channel, and 16 bits.
_FORMATS = {
    (False, False): "rgb24",
    (True, False): "rgba",
    (False, True): "rgb48le",
    (True, True): "rgba64le",
}
_BILINEAR = 2  # SWS_BILINEAR, for the chroma of frames that keep their size


def yuv_matrix(frame: av.VideoFrame) -> int:
    """Return swscale's number of the YUV matrix: the frame's tag, or by size, like players, if it has none.

    Untagged frames wider than 1279 or higher than 576 pixels are taken as BT.709, others as BT.601.
    """
    tagged = _MATRIX.get(int(frame.colorspace))
    return tagged or (_BT709 if frame.width >= 1280 or frame.height > 576 else _BT601)


def yuv_range(frame: av.VideoFrame) -> int:
    """Return LIMITED or FULL; untagged is limited, except for the yuvj formats, which are full by definition."""
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL
    return FULL if full else LIMITED


def holds_alpha(frame: av.VideoFrame) -> bool:
    """Return whether a frame's format has an alpha channel."""
    return "a" in frame.format.name.replace("gray", "").replace("pal8", "a")


def to_rgb(
    frame: av.VideoFrame,
    width: int,
    height: int,
    scaler: VideoReformatter,
    light: Light | None,
    straight: bool,
    deep: bool = False,
) -> np.ndarray:
    """Convert and scale a frame to uint8 [height, width, 3]; alpha is composited over black.

    Args:
        light: what the signals mean, None for BT.709.
        straight: give a frame with alpha as [height, width, 4], with straight colours.
        deep: give uint16 with `DEEP_WHITE` as white, always over black.
    """
    wide = deep or light is not None
    alpha = holds_alpha(frame)
    matrix = yuv_matrix(frame)
    same_size = (width, height) == (frame.width, frame.height)
    # To 16 bits, swscale returns wrong colours for bilinear frames that keep their size.
    scaling = _BILINEAR if same_size and not wide else BICUBIC
    converted = scaler.reformat(
        frame,
        width,
        height,
        _FORMATS[alpha, wide],
        src_colorspace=matrix,
        # Has no meaning for RGB, but older PyAV ignores the source's matrix and range if it is the same.
        dst_colorspace=_BT709 if matrix != _BT709 else _BT601,
        src_color_range=yuv_range(frame),
        dst_color_range=FULL,
        interpolation=scaling | ROUNDED,
    )
    plane = converted.planes[0]
    depth = 4 if alpha else 3
    data = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
    pixels = data.reshape(height, -1)[:, : width * depth].reshape(height, width, depth)
    # Of YUV, swscale makes the upper eight bits of white 255 and the lower ones 0.
    white = 65535 if frame.format.is_rgb else DEEP_WHITE
    if deep:
        return _deep(pixels, white, light)
    if light is not None:
        colours = light.to_bt709(pixels[..., :3], white)
        opacity = ((pixels[..., 3:].astype(np.uint32) + 128) // 257).astype(np.uint8)
        pixels = np.concatenate((colours, opacity), 2) if alpha else colours
    return over_black(pixels) if alpha and not straight else pixels


def _deep(pixels: np.ndarray, white: int, light: Light | None) -> np.ndarray:
    """Return swscale's colours of 16 bits as BT.709 with `DEEP_WHITE`, over black where they have alpha."""
    colours = pixels[..., :3]
    if light is not None:
        colours = light.to_bt709(colours, white, deep=True)
    elif white != DEEP_WHITE:
        colours = np.rint(colours * (DEEP_WHITE / white)).astype(np.uint16)
    if pixels.shape[2] == 4:
        colours = np.rint(colours * (pixels[..., 3:] / 65535)).astype(np.uint16)
    return colours


def over_black(rgba: np.ndarray) -> np.ndarray:
    """Composite uint8 [H, W, 4] with straight alpha over black, to uint8 [H, W, 3]."""
    product = rgba[..., :3] * rgba[..., 3:].astype(np.uint16)
    return ((product + 127) // 255).astype(np.uint8)


@dataclass(frozen=True)
class Orientation:
    """Transform from a stored picture to the upright one: swap the axes, then mirror."""

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """Read the frame's display matrix, rounded to the nearest right angle.

        The matrix maps a stored point to the screen: x' = a x + c y, y' = b x + d y
        (ISO/IEC 14496-12, 6.2.2).
        """
        side_data: Any = frame.side_data  # PyAV's stubs lack it
        if _DISPLAY_MATRIX not in side_data:
            return cls()
        data = memoryview(side_data[_DISPLAY_MATRIX])
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return an upright view of [H, W, C]."""
        pixels = pixels.swapaxes(0, 1) if self.swap else pixels
        return pixels[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.swap else (width, height)


def square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the display size of a picture whose pixels are `aspect` times as wide as high.

    The shorter side is stretched, so that no detail is lost, to an even length, as encoders require. Ratios
    beyond 4:1 are treated as errors in the file.
    """
    if not aspect or aspect == 1 or not Fraction(1, 4) <= aspect <= 4:
        return width, height
    if aspect > 1:
        return 2 * round(width * aspect / 2), height
    return width, 2 * round(height / aspect / 2)


def fit_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Scale a size down so that the longest side is at most `max_side`; 0 keeps it."""
    longest = max(width, height)
    if not max_side or longest <= max_side:
        return width, height
    return max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))
