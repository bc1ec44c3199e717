"""The audio stream of a file that is being written."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from .info import Audio

_USUAL_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
# What the encoders take as it is. FFmpeg's AAC encoder has no 6.1 of its own that players agree on.
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
    """Encodes an `Audio` step by step, so that it interleaves with the video."""

    def __init__(self, container: av.container.OutputContainer, codec: str, audio: Audio):
        samples = audio.samples.detach().cpu().float()
        channels = samples.shape[0]
        usual = _USUAL_LAYOUTS[channels - 1] if channels <= len(_USUAL_LAYOUTS) else f"{channels}c"
        self._layout = audio.layout or usual
        self._samples = samples.numpy()
        self._rate = audio.rate
        self._container = container
        layout = self._layout if self._layout in _KNOWN_LAYOUTS[codec] else "stereo"
        known = _KNOWN_RATES[codec]
        rate = min((rate for rate in known if rate >= audio.rate), default=max(known))
        self._stream = container.add_stream(codec, rate=rate)
        context = self._stream.codec_context
        context.layout = layout
        context.bit_rate = _BITS_PER_CHANNEL * context.layout.nb_channels
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
        block = np.zeros((self._samples.shape[0], count), np.float32)
        part = self._samples[:, self._done : self._done + count]
        block[:, : part.shape[1]] = part
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._done, Fraction(1, self._rate)
        self._container.mux(self._stream.encode(frame))
        self._done += count
