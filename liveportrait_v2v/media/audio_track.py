"""Encoding of the audio stream of a file that is being written."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from ..errors import MediaError
from .info import USUAL_LAYOUTS, Audio

# Layouts that are encoded without conversion. Players disagree on the 6.1 of FFmpeg's AAC encoder.
_KNOWN_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
_KNOWN_RATES = {
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
    "libopus": (48000, 24000, 16000, 12000, 8000),
}
_BLOCK = 1024
_BITS_PER_CHANNEL = 96_000


class AudioTrack:
    """Encoder of an `Audio`, in steps that interleave with the video."""

    def __init__(self, container: av.container.OutputContainer, codec: str, audio: Audio, name: str):
        """Add the stream to a file.

        Raises:
            MediaError: samples of another shape than [C, T], or more than 8 channels.
        """
        if audio.samples.ndim != 2 or not 1 <= audio.samples.shape[0] <= len(USUAL_LAYOUTS):
            shape = list(audio.samples.shape)
            raise MediaError(name, f"audio must be [channels, samples] with 1 to 8 channels, got {shape}")
        self._samples = audio.samples.detach().cpu().float().numpy()
        channels = self._samples.shape[0]
        self._layout = _layout(audio.layout, channels) or USUAL_LAYOUTS[channels - 1]
        self._rate = audio.rate
        self._container = container
        layout = self._layout if self._layout in _KNOWN_LAYOUTS[codec] else "stereo"
        known = _KNOWN_RATES[codec]
        rate = min((rate for rate in known if rate >= audio.rate), default=max(known))
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(
            stream, av.audio.stream.AudioStream
        )  # every codec of _KNOWN_LAYOUTS is an audio codec
        self._stream = stream
        stream.codec_context.layout = av.AudioLayout(layout)
        stream.codec_context.bit_rate = _BITS_PER_CHANNEL * stream.codec_context.layout.nb_channels
        self._done = 0

    def write_until(self, time: Fraction) -> None:
        """Encode whole blocks up to `time`, in seconds."""
        stop = int(time * self._rate) // _BLOCK * _BLOCK
        while self._done < stop:
            self._encode(_BLOCK)

    def finish(self, duration: Fraction) -> None:
        """Encode up to exactly `duration` seconds and end the stream."""
        count = round(duration * self._rate)
        while self._done < count:
            self._encode(min(_BLOCK, count - self._done))
        self._container.mux(self._stream.encode(None))

    def _encode(self, count: int) -> None:
        # Interleaved, as PyAV reads past the end of 8 separate channels.
        block = np.zeros((count, self._samples.shape[0]), np.float32)
        part = self._samples[:, self._done : self._done + count].T
        block[: part.shape[0]] = part
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._done, Fraction(1, self._rate)
        self._container.mux(self._stream.encode(frame))
        self._done += count


def _layout(name: str | None, channels: int) -> str | None:
    """Return the name if FFmpeg has a layout of it with this many channels: files may leave the order open."""
    try:
        return name if name and av.AudioLayout(name).nb_channels == channels else None
    except ValueError:
        return None
