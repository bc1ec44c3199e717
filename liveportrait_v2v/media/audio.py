"""Decoding of a file's audio to float samples of an exact time window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import BinaryIO

import av
import av.error
import numpy as np
import torch

from ..errors import MediaError
from .info import Audio, AudioCheck, AudioInfo, AudioStream
from .probe import audio_info, choose_audio
from .pyav import rational
from .source import MAX_BYTES, Source, packets

# Timestamps within this distance of the sample count are rounding; beyond it they are a gap or an overlap.
_DRIFT_SECONDS = 0.05
# Decoding begins this much earlier, so that the decoder has settled when the window begins.
_LEAD_SECONDS = 1
_SCALE = {"u8": 1 / 128, "s16": 1 / 32768, "s32": 1 / 2147483648}


def read_audio(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    start: Fraction = Fraction(0),
    duration: Fraction | None = None,
    max_bytes: int = MAX_BYTES,
) -> Audio | None:
    """Read the audio of a file, with or without a video.

    Args:
        source: a path or a binary file object.
        start: seconds from the beginning of the audio.
        duration: seconds; None reads to the end.

    Returns:
        exactly round(duration * rate) samples, padded with silence where the audio is shorter; None if the
        file holds no audio.

    Raises:
        MediaError: the file can't be read.
    """
    file = Source(source, max_bytes)
    with file.container() as container:
        stream = choose_audio(container).stream
        if stream is None:
            return None
        info, index = audio_info(stream), stream.index
        first: Fraction | None = None
        end = Fraction(0)
        for packet in packets(container, stream):
            if packet.pts is not None:
                tick = rational(packet.time_base) or Fraction(0)
                first = packet.pts * tick if first is None else first
                end = (packet.pts + (packet.duration or 0)) * tick
        begin = max(first or Fraction(0), Fraction(0))
    if duration is None:
        duration = max(end - begin - start, Fraction(0))
    return stream_audio(file, index, info, begin + start, Fraction(duration)).read()


def stream_audio(
    source: Source, index: int, info: AudioInfo, start: Fraction, duration: Fraction
) -> AudioStream:
    """Return the audio from `start`, in absolute seconds of the file, for `duration`: round(duration * rate) samples.

    Each decoded block is placed by its timestamp: a gap becomes silence, and samples before the window, such as an
    encoder's priming, are cut. Where timestamps jump back, what was there first is kept. Blocks that can't be decoded
    are silent. Reading raises MediaError where the file can't be opened.
    """
    rate = info.sample_rate
    count = round(duration * rate)

    def blocks() -> Iterator[tuple[int, torch.Tensor]]:
        done = 0
        for at, frame in _placed(source, index, info, start):
            if at >= count:
                return
            block = _planar(frame)
            first, last = max(at, done), min(at + block.shape[1], count)
            if last > first:
                yield first, torch.from_numpy(block[:, first - at : last - at])
                done = last

    return AudioStream(rate, info.channels, count, info.layout, blocks)


def check_audio(source: Source, index: int, start: Fraction, duration: Fraction) -> AudioCheck:
    """Decode the same window, and add up what can be decoded and what can't.

    Raises:
        MediaError: the file can't be opened.
    """
    decoded = damaged = Fraction(0)
    with source.container() as container:
        for part in _decoded(container, _sought(container, index, start)):
            tick = rational(part.time_base)
            if part.pts is not None and tick is not None:
                if part.pts * tick >= start + duration:
                    break
                if part.pts * tick < start:
                    continue
            if isinstance(part, av.AudioFrame):
                decoded += Fraction(part.samples, part.sample_rate)
            elif part.duration and tick is not None:
                damaged += part.duration * tick
    return AudioCheck(decoded, damaged)


def _placed(
    source: Source, index: int, info: AudioInfo, start: Fraction
) -> Iterator[tuple[int, av.AudioFrame]]:
    """Yield audio frames at the track's rate and layout, with the number of their first sample from `start`."""
    cursor = None
    with source.container() as container:
        guessed = container.format.name == "aac"  # a bare stream has no timestamps, and may change its rate
        for frame in _uniform(_decoded(container, _sought(container, index, start)), info):
            tick = rational(frame.time_base)
            if frame.pts is not None and tick is not None and not (guessed and cursor is not None):
                at = round((frame.pts * tick - start) * info.sample_rate)
                if cursor is None or abs(at - cursor) > _DRIFT_SECONDS * info.sample_rate:
                    cursor = at
            cursor = round(-start * info.sample_rate) if cursor is None else cursor
            yield cursor, frame
            cursor += frame.samples


def _sought(
    container: av.container.InputContainer, index: int, start: Fraction
) -> av.audio.stream.AudioStream:
    """Return an audio stream of the container, moved to somewhat before `start` seconds."""
    stream = container.streams[index]
    assert isinstance(stream, av.audio.stream.AudioStream)
    lead = start - _LEAD_SECONDS
    # Seeking pays only where there is something to skip.
    tick = rational(stream.time_base)
    if lead > 10 and tick is not None:
        with suppress(av.error.FFmpegError):
            container.seek(int(lead / tick), stream=stream)
    return stream


def _decoded(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> Iterator[av.AudioFrame | av.Packet[av.stream.Stream]]:
    """Yield a stream's decoded frames, and in place of them each packet that can't be decoded."""
    for packet in chain(packets(container, stream), [None]):
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if packet is not None:
                yield packet


def _uniform(
    parts: Iterator[av.AudioFrame | av.Packet[av.stream.Stream]], info: AudioInfo
) -> Iterator[av.AudioFrame]:
    """Yield the frames among the parts, at the track's rate and layout."""
    resamplers: dict[tuple[int, str, str], av.AudioResampler] = {}
    for frame in parts:
        if not isinstance(frame, av.AudioFrame):
            continue
        same = frame.sample_rate == info.sample_rate and frame.layout.nb_channels == info.channels
        # PyAV reads past the end of 8 separate channels.
        if same and (frame.format.is_packed or info.channels < 8):
            yield frame
            continue
        # Broadcasts change their format midway.
        kind = frame.sample_rate, frame.layout.name, frame.format.name
        if kind not in resamplers:
            resamplers[kind] = av.AudioResampler("flt", info.layout, info.sample_rate)
        with suppress(av.error.FFmpegError):
            yield from resamplers[kind].resample(frame)


def _planar(frame: av.AudioFrame) -> np.ndarray:
    """Return a frame's samples, float32 [C, T]."""
    data = frame.to_ndarray()
    if frame.format.is_packed:
        data = data.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.name.removesuffix("p")
    if kind in ("flt", "dbl"):
        return data.astype(np.float32, copy=False)
    if kind not in _SCALE:
        raise MediaError("audio", f"samples of format {kind} can't be read")
    shift = 128 if kind == "u8" else 0
    return ((data.astype(np.float64) - shift) * _SCALE[kind]).astype(np.float32)
