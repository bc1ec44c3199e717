"""Pictures of a camera as they arrive."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TypeVar

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image

from ..errors import SettingsError
from ..media import Audio, Chunk, ClipInfo
from .newest import Newest

T = TypeVar("T")
RATE = Fraction(30)
"""Frames per second that a camera is taken to have: smoothing refers to it."""
MAX_PICTURE_BYTES = 1 << 20
"""The largest picture: one of 1280x720 in high quality takes less than half of it."""
MAX_PICTURE_PIXELS = 1920 * 1080


PLANES = struct.Struct("<4sHH??")
"""What comes before a picture's planes: their format, width, height, whether they are to be mirrored, and whether
their values have the full range."""
_FORMATS = {b"I420": "yuv420p", b"NV12": "nv12"}


class PictureError(SettingsError):
    """A camera's picture can't be read."""


@dataclass(frozen=True)
class Picture:
    """A JPEG file, or `PLANES` and what follows, with its number and the time of its arrival in seconds."""

    data: bytes
    index: int
    time: float


class LiveSource:
    """Pictures of a camera: a `FrameSource` of unknown length with a clock. The newest picture wins.

    `put` may be called from any thread; `read` and `chunks` wait in the thread that calls them. A picture is decoded
    only when it is its turn, so that those which nobody sees cost nothing.

    Attributes:
        received: pictures that came.
        dropped: of these, those whose place a newer one took.
        damaged: of these, those that can't be decoded.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """Start the clock."""
        self._clock = clock
        self._start = clock()
        self._newest: Newest[Picture] = Newest()
        self._size = 0, 0
        self.received = self.dropped = self.damaged = 0

    @property
    def seconds(self) -> float:
        """The time on the source's clock."""
        return self._clock() - self._start

    @property
    def info(self) -> ClipInfo:
        """Facts about the camera; width and height are those of the last picture that was read, 0 before the first."""
        width, height = self._size
        return ClipInfo(width, height, RATE, None, 0, False, None)

    def put(self, data: bytes, index: int) -> None:
        """Take the next picture and its number."""
        self.received += 1
        self.dropped += self._newest.put(Picture(data, index, self.seconds))

    def close(self) -> None:
        """End the source: `read` and `chunks` end."""
        self._newest.close()

    def read(self, read: Callable[[Picture], T]) -> Iterator[T]:
        """Yield what a function makes of the newest picture again and again, of each once, until `close`.

        Args:
            read: raises PictureError for a picture that is damaged, which is counted and passed over.
        """
        for picture in self._newest:
            try:
                yield read(picture)
            except PictureError:
                self.damaged += 1

    def chunks(self, size: int = 1, *, cap: int = 0) -> Iterator[Chunk]:
        """Yield the newest picture again and again, each once, as a chunk of one frame, until `close`.

        Args:
            size: as in `FrameSource`; a chunk is never longer than one frame, whatever it is.
            cap: most frames; 0 = all.

        Yields:
            frames whose index is the picture's number and whose time is that of its arrival.
        """
        yield from islice(self.read(self._chunk), cap or None)

    def _chunk(self, picture: Picture) -> Chunk:
        frames = decoded(picture.data)
        self._size = frames.shape[2], frames.shape[1]
        return Chunk(frames, [Fraction(picture.time)], picture.index)

    def audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> Audio | None:
        """Return None: sound does not come this way."""
        return None


def decoded(data: bytes) -> torch.Tensor:
    """Decode a picture's data, and return it as uint8 [1, H, W, 3].

    Raises:
        PictureError: it is damaged, or too large.
    """
    return _of_planes(data) if data[:4] in _FORMATS else _of_file(data)


def _of_planes(data: bytes) -> torch.Tensor:
    """Return planes by BT.601, as cameras have them, as RGB."""
    kind, width, height, mirrored, full_range = PLANES.unpack_from(data.ljust(PLANES.size))
    size = width * height * 3 // 2
    if width % 2 or height % 2 or not size or len(data) != PLANES.size + size:
        raise PictureError(
            f"a picture's planes of {width}x{height} pixels take {size} bytes, with an even width and height, got "
            f"{len(data) - PLANES.size}"
        )
    planes = np.frombuffer(data, np.uint8, offset=PLANES.size).reshape(height * 3 // 2, width)
    frame = av.VideoFrame.from_ndarray(planes, format=_FORMATS[kind])
    frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    # Threads of swscale's own would take longer to wake than this takes.
    pixels = torch.from_numpy(VideoReformatter().reformat(frame, format="rgb24", threads=1).to_ndarray())
    return (pixels.flip(1) if mirrored else pixels).unsqueeze(0)


def _of_file(data: bytes) -> torch.Tensor:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.width * picture.height > MAX_PICTURE_PIXELS:
                raise PictureError(
                    f"a camera's picture has at most {MAX_PICTURE_PIXELS} pixels, got "
                    f"{picture.width}x{picture.height}; lower the camera's resolution"
                )
            rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
            # Quicker than numpy's way, twice with the decoding.
            pixels, (width, height) = bytearray(rgb.tobytes()), rgb.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"a camera's picture must be JPEG: {error}") from error
    return torch.frombuffer(pixels, dtype=torch.uint8).view(1, height, width, 3)


def encoded(frame: torch.Tensor, quality: int) -> bytes:
    """Return a frame uint8 [H, W, 3] as a JPEG file."""
    file = io.BytesIO()
    # Full colours: half of them are visible at the lips.
    Image.fromarray(frame.numpy()).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()
