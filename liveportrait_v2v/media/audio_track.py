"""Encoding of the audio stream of a file that is being written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from ..errors import MediaError
from .info import USUAL_LAYOUTS, AudioStream

# Layouts that come out of FFmpeg's decoders with the same names and channels. Not among them are 6.1 of AAC, and 5.0
# and 6.1 of libopus, whose channels are mixed up.
_KNOWN_LAYOUTS = {
    "aac": ("mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.1", "7.1"),
}
# Speakers for channels that a layout lacks, by FFmpeg's names.
_STAND_INS = {
    "SL": ("BL",),
    "SR": ("BR",),
    "BL": ("SL",),
    "BR": ("SR",),
    "BC": ("BL", "BR"),
    "FLC": ("FL",),
    "FRC": ("FR",),
    "WL": ("FL",),
    "WR": ("FR",),
    "TFL": ("FL",),
    "TFR": ("FR",),
    "TFC": ("FC",),
    "TSL": ("SL",),
    "TSR": ("SR",),
    "TBL": ("BL",),
    "TBR": ("BR",),
    "TBC": ("BL", "BR"),
    "LFE2": ("LFE",),
}
_HALF_POWER = 0.5**0.5
_KNOWN_RATES = {
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
    "libopus": (48000, 24000, 16000, 12000, 8000),
}
_BITS_PER_CHANNEL = 96_000
# Longer silence within one frame of the video is left out of the stream, as a gap in its timestamps.
_LONGEST_SILENCE_SECONDS = 60


class AudioTrack:
    """Encoder of an `AudioStream`, in steps that interleave with the video."""

    def __init__(self, container: av.container.OutputContainer, codec: str, audio: AudioStream, name: str):
        """Add the stream to a file.

        Raises:
            MediaError: not 1 to 8 channels, if their positions are unknown.
        """
        layout, self._mix = _placing(audio, codec, name)
        self._layout = layout
        self._rate = audio.rate
        self._container = container
        stream = container.add_stream(codec, rate=_encoded_rate(audio.rate, codec))
        # Every codec of _KNOWN_LAYOUTS is an audio codec.
        assert isinstance(stream, av.audio.stream.AudioStream)
        self._stream = stream
        stream.codec_context.layout = av.AudioLayout(layout)
        stream.codec_context.bit_rate = _BITS_PER_CHANNEL * stream.codec_context.layout.nb_channels
        stream.codec_context.open()
        # Timestamps may have a gap only between frames of the codec, and not while PyAV resamples.
        self._block = stream.codec_context.frame_size
        self._may_skip = stream.codec_context.sample_rate == audio.rate
        self._done = 0
        self._blocks = audio.blocks()
        self._next = next(self._blocks, None)

    def write_until(self, time: Fraction) -> None:
        """Encode whole blocks up to `time`, in seconds."""
        self._encode_until(int(time * self._rate) // self._block * self._block)

    def finish(self, duration: Fraction) -> None:
        """Encode up to exactly `duration` seconds and end the stream."""
        self._encode_until(round(duration * self._rate))
        self._container.mux(self._stream.encode(None))

    def _encode_until(self, stop: int) -> None:
        while self._done < stop:
            silent_until = stop if self._next is None else min(self._next[0], stop)
            if self._may_skip and silent_until - self._done > _LONGEST_SILENCE_SECONDS * self._rate:
                # A last silent block gives the stream its length.
                self._done = (silent_until - 1) // self._block * self._block
            self._encode(min(self._block, stop - self._done))

    def _encode(self, count: int) -> None:
        # Interleaved, as PyAV reads past the end of 8 separate channels.
        block = (self._taken(count).T @ self._mix).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._done, Fraction(1, self._rate)
        self._container.mux(self._stream.encode(frame))
        self._done += count

    def _taken(self, count: int) -> np.ndarray:
        """Return the next samples, float32 [C, count]."""
        taken = np.zeros((len(self._mix), count), np.float32)
        while self._next is not None and self._next[0] < self._done + count:
            at, samples = self._next
            block = samples.detach().cpu().float().numpy()
            begin = at - self._done
            part = block[:, : count - begin]
            taken[:, begin : begin + part.shape[1]] = part
            rest = samples[:, part.shape[1] :]
            self._next = (self._done + count, rest) if rest.shape[1] else next(self._blocks, None)
        return taken


def audio_changes(audio: AudioStream, codec: str, kind: str) -> tuple[str, ...]:
    """Return what a codec changes of the audio: clauses, such as "audio with 7.0 channels becomes 7.1 in .mp4"."""
    changes = []
    layout, mix = _placing(audio, codec, kind)
    if mix.shape != (audio.channels, audio.channels) or np.count_nonzero(mix) != len(mix):
        own = _named(audio.layout, audio.channels) or f"{audio.channels} channels"
        changes.append(f"audio in {own} becomes {layout} in {kind}")
    rate = _encoded_rate(audio.rate, codec)
    if rate != audio.rate:
        changes.append(f"audio of {audio.rate} Hz is resampled to {rate} Hz in {kind}")
    return tuple(changes)


def _encoded_rate(rate: int, codec: str) -> int:
    """Return the least rate of the codec that is not below this one, or its highest."""
    known = _KNOWN_RATES[codec]
    return min((other for other in known if other >= rate), default=max(known))


def _placing(audio: AudioStream, codec: str, name: str) -> tuple[str, np.ndarray]:
    """Return the layout that a codec gets, and the matrix [C, D] that brings the audio's channels into it.

    Each channel keeps its position, or takes the nearest one in a layout that lacks it. Of the layouts with a place for
    each channel, the one that mixes the fewest channels is taken, and of several the smallest.

    Raises:
        MediaError: not 1 to 8 channels, if their positions are unknown.
    """
    layout = _named(audio.layout, audio.channels)
    if layout is None:
        if not 1 <= audio.channels <= len(USUAL_LAYOUTS):
            raise MediaError(
                name, f"audio without a channel layout must have 1 to 8 channels, got {audio.channels}"
            )
        layout = USUAL_LAYOUTS[audio.channels - 1]
    channels = [channel.name for channel in av.AudioLayout(layout).channels]
    found = []
    for known in _KNOWN_LAYOUTS[codec]:
        speakers = [channel.name for channel in av.AudioLayout(known).channels]
        places = [_places(channel, speakers) for channel in channels]
        if all(places):
            uses = Counter(place for one in places for place in one)
            mixed = sum(len(one) > 1 or uses[one[0]] > 1 for one in places)
            found.append((mixed, len(speakers), known, speakers, places))
    if not found:
        # Positions that mean nothing to players, such as those of binaural recordings.
        return "stereo", np.eye(len(channels), 2, dtype=np.float32)
    _, _, known, speakers, places = min(found)
    matrix = np.zeros((len(channels), len(speakers)), np.float32)
    for row, own in zip(matrix, places, strict=True):
        row[[speakers.index(place) for place in own]] = 1 if len(own) == 1 else _HALF_POWER
    return known, matrix


def _places(channel: str, speakers: Sequence[str]) -> tuple[str, ...]:
    """Return where a channel is heard, empty if nowhere."""
    if channel in speakers:
        return (channel,)
    stand_ins = _STAND_INS.get(channel, ())
    return stand_ins if stand_ins and all(other in speakers for other in stand_ins) else ()


def _named(name: str | None, channels: int) -> str | None:
    """Return the name if FFmpeg has a layout of it with this many channels: files may leave the order open."""
    try:
        layout = av.AudioLayout(name) if name else None
    except ValueError:
        return None
    if layout is None or layout.nb_channels != channels or layout.channels[0].name == "NONE":
        return None
    return name
