"""A video file that is being encoded: its container, its streams, and frames converted for the encoder."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from .audio_track import AudioTrack
from .colour import BICUBIC, FULL, LIMITED, ROUNDED

CONVERTERS = 4
"""Threads that convert frames for the encoder, at most."""
_BT709 = 1  # in swscale and in the stream's tags alike: matrix, transfer curve and primaries


class OpenFile:
    """Container, streams and converters of a file whose frame size is known.

    Attributes:
        audio: the audio stream, or None.
        size: width and height of the frames.
        alpha: the frames have alpha.
        count: frames written so far.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        stream: av.video.stream.VideoStream,
        rate: Fraction,
        size: tuple[int, int],
        pixel_format: str,
    ):
        width, height = size
        self.alpha = pixel_format.startswith("yuva")
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = 1 / rate
        context.color_range = LIMITED
        context.colorspace = context.color_trc = context.color_primaries = _BT709
        self.container = container
        self.audio: AudioTrack | None = None
        self.size = size
        self.count = 0
        self._stream = stream
        self._rate = rate
        self._converters: queue.SimpleQueue[_Converter] = queue.SimpleQueue()
        count = min(CONVERTERS, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(count)
        for _ in range(count):
            self._converters.put(_Converter(stream.width, stream.height, pixel_format))

    def encode(self, frames: Iterable[np.ndarray]) -> None:
        """Append frames uint8 [H, W, C]; while one is encoded, the next ones are converted."""
        for frame in self._threads.map(self._converted, frames):
            frame.pts, frame.time_base = self.count, 1 / self._rate
            self.container.mux(self._stream.encode(frame))
            self.count += 1
            if self.audio is not None:
                self.audio.write_until(self.count / self._rate)

    def _converted(self, pixels: np.ndarray) -> av.VideoFrame:
        converter = self._converters.get()
        try:
            return converter(pixels)
        finally:
            self._converters.put(converter)

    def finish(self) -> None:
        """End the streams and close the file."""
        self.container.mux(self._stream.encode(None))
        if self.audio is not None:
            self.audio.finish(self.count / self._rate)
        self.container.close()
        self._threads.shutdown()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._threads.shutdown(cancel_futures=True)
        close_quietly(self.container)


class _Converter:
    """What turns RGB pixels into the encoder's frames; for one frame at a time."""

    def __init__(self, width: int, height: int, pixel_format: str):
        self._scaler = VideoReformatter()
        self._format = pixel_format
        channels = 4 if pixel_format.startswith("yuva") else 3
        self._deep = pixel_format == "yuv420p10le"
        self._rgb = av.VideoFrame(
            width, height, "rgb48le" if self._deep else "rgba" if channels == 4 else "rgb24"
        )
        plane = self._rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint16 if self._deep else np.uint8).reshape(height, -1)
        self._canvas = rows[:, : width * channels].reshape(height, width, channels)

    def __call__(self, pixels: np.ndarray) -> av.VideoFrame:
        """Return a frame of pixels [H, W, C], whose last row and column are repeated up to the frame's size."""
        height, width = pixels.shape[:2]
        if self._deep and pixels.dtype == np.uint8:
            pixels = pixels.astype(np.uint16) * 256
        self._canvas[:height, :width] = pixels
        self._canvas[height:, :width] = pixels[-1:]
        self._canvas[:, width:] = self._canvas[:, width - 1 : width]
        frame = self._scaler.reformat(
            self._rgb,
            format=self._format,
            src_colorspace=5,  # has no meaning for RGB, but must differ: see colour.to_rgb
            dst_colorspace=_BT709,
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=BICUBIC | (ROUNDED if self._deep else 0),
        )
        frame.colorspace, frame.color_range = _BT709, LIMITED
        return frame


def close_quietly(container: av.container.OutputContainer) -> None:
    """Close an abandoned file; closing writes its trailer, which may fail as well."""
    with suppress(OSError, ValueError, av.error.FFmpegError):
        container.close()
