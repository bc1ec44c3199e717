"""Probing of a video file: its headers, all its packets and one decoded frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np

from ..errors import MediaError
from .colour import Orientation, holds_alpha, square_pixels
from .dolby import DolbyVision
from .info import USUAL_LAYOUTS, AudioInfo, rounding_note
from .light import Light
from .pyav import metadata, rational
from .source import Source, check_size, packets
from .timeline import Timeline, make_timeline

# Containers that state a duration; for others FFmpeg estimates it.
_STATES_DURATION = ("mov,mp4", "matroska", "avi", "flv", "asf")
# A file that ends earlier than it states by more than this is truncated.
_MISSING_SECONDS = Fraction(1, 2)
_MISSING_SHARE = Fraction(2, 100)
# Enough for a period of 3:2 pulldown. No interlaced format is higher than 1080 lines, coded as 1088.
_FIRST_PICTURES = 5
_HIGHEST_INTERLACED = 1088
# Codecs reorder at most 16 frames; twice that separates B-frames from a clock that jumped back.
_REORDERING = 32


@dataclass(frozen=True)
class VideoTrack:
    """The video stream of a file.

    Attributes:
        index: index of the stream.
        width, height: size of the upright frames, in square pixels.
        orientation: from the stored picture to the upright one.
        light: what its signals mean, None for BT.709.
        timeline: display times of all its frames.
        tick: unit of the stream's timestamps, in seconds.
        pts: int64 [n], the frames' timestamps in display order, in ticks; None if the file has none
            that can be trusted, and the frames are counted instead.
        key_pts: int64, sorted timestamps of the key frames, where decoding can begin.
        start: absolute time of the first frame in seconds, the zero of the audio.
        audio, audio_index: the file's audio stream and its index; None without one.
        has_alpha, depth, notes, audio_notes: as in `ClipInfo`.
    """

    index: int
    width: int
    height: int
    orientation: Orientation
    light: Light | None
    timeline: Timeline
    tick: Fraction
    pts: np.ndarray | None
    key_pts: np.ndarray
    start: Fraction
    audio: AudioInfo | None
    audio_index: int | None
    has_alpha: bool
    depth: int
    notes: tuple[str, ...]
    audio_notes: tuple[str, ...]


def probe_video(source: Source) -> VideoTrack:
    """Read every packet of the file once, and decode only the first frames.

    Headers omit or misstate the number of frames, their times, whether the rate is constant and whether the file is
    complete; the packets give them. The first frame is decoded because PyAV reports a stream's rotation on decoded
    frames only, and _FIRST_PICTURES because some of those of telecined film are whole and others interlaced.

    An MP4, MOV, MKV, WebM, AVI, FLV or ASF file, which states a duration, is truncated if its packets end more than
    half a second and 2 % earlier. Shorter losses at the end are ignored.

    Raises:
        MediaError: no video stream, no decoder, no frames, truncated, frames that are too large, or Dolby Vision
            without a base layer that others can show.
    """
    with source.container() as container:
        stream = video_stream(container, source.name)
        decoder = decoder_of(stream, source.name)
        decoder.thread_count = 1
        if stream.width and stream.height:
            # Before anything of that size is decoded; the frames themselves may differ.
            check_size(source.name, stream.width, stream.height, source.max_pixels)
        audio = choose_audio(container)
        seen = _Packets(stream)
        others_end = Fraction(0)
        pictures: list[av.VideoFrame] = []
        for packet in packets(container, *container.streams):
            if packet.stream_index != stream.index:
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * (rational(packet.time_base) or Fraction(0))
                    others_end = max(others_end, end)
                continue
            seen.add(packet)
            if _wants_more(pictures):
                pictures += _pictures(decoder, packet)
        if not seen.pts:
            raise MediaError(source.name, "the video stream holds no frames (zero frames)")
        if not pictures:
            pictures = _pictures(decoder, None)
        if not pictures:
            raise MediaError(source.name, "no frame can be decoded: damaged, or not a video at all")
        picture = pictures[0]
        check_size(source.name, picture.width, picture.height, source.max_pixels)
        timing = seen.timing(stream, container.format.name == "avi")
        video_end = timing.start + timing.timeline.end * timing.timeline.tick
        _check_whole(source.name, container, stream, video_end, others_end)
        orientation = Orientation.of(picture)
        transfer, primaries = _tags(decoder, stream)
        light = Light.of(transfer, primaries)
        dolby = DolbyVision.of(stream, picture, transfer)
        if dolby is not None and not dolby.compatible:
            raise MediaError(source.name, dolby.refusal)
        interlaced = any(picture.interlaced_frame for picture in pictures)
        square = square_pixels(picture.width, picture.height, rational(stream.sample_aspect_ratio))
        check_size(source.name, *square, source.max_pixels)
        width, height = orientation.size(*square)
        return VideoTrack(
            index=stream.index,
            width=width,
            height=height,
            orientation=orientation,
            light=light,
            timeline=timing.timeline,
            tick=_tick(stream),
            pts=timing.pts,
            key_pts=np.array(sorted(seen.keys), dtype=np.int64),
            start=timing.start,
            audio=None if audio.stream is None else audio_info(audio.stream),
            audio_index=None if audio.stream is None else audio.stream.index,
            has_alpha=holds_alpha(picture),
            depth=_bits(picture),
            notes=(
                *_notes(picture, light, dolby, interlaced),
                *_shape_notes(picture, square, timing.timeline),
            ),
            audio_notes=audio.notes,
        )


def video_stream(container: av.container.InputContainer, name: str) -> av.video.stream.VideoStream:
    """Return the stream that a player would show, ignoring cover pictures of music.

    Raises:
        MediaError: there is none.
    """
    covers = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & covers]
    if not streams:
        what = "it holds audio only" if container.streams.audio else "it holds no pictures"
        raise MediaError(name, f"has no video stream: {what}; choose another file")
    best = container.streams.best("video")
    return best if best in streams else streams[0]


def decoder_of(stream: av.video.stream.VideoStream, name: str) -> av.video.codeccontext.VideoCodecContext:
    """Return the stream's decoder: libvpx for transparent VP8 and VP9, as FFmpeg's own decoders drop the alpha.

    Raises:
        MediaError: there is none.
    """
    if stream.codec_context is None:
        raise MediaError(name, "this build of FFmpeg has no decoder for its video codec; convert it to H.264")
    libvpx = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    transparent = "1" in (stream.metadata.get("alpha_mode"), stream.metadata.get("ALPHA_MODE"))
    if transparent and libvpx in av.codecs_available:
        decoder = av.CodecContext.create(libvpx, "r")
        assert isinstance(decoder, av.video.codeccontext.VideoCodecContext)
        return decoder
    return stream.codec_context


@dataclass(frozen=True)
class ChosenAudio:
    """The audio stream that is heard, None without one, and notes as in `ClipInfo.audio_notes`."""

    stream: av.audio.stream.AudioStream | None
    notes: tuple[str, ...]


def choose_audio(container: av.container.InputContainer) -> ChosenAudio:
    """Choose the audio stream that a player would play: the default one, else the first, of those with a decoder."""
    tracks = list(container.streams.audio)
    default = av.stream.Disposition.default
    ranked = sorted(tracks, key=lambda track: not track.disposition & default)
    chosen = next((track for track in ranked if track.codec_context is not None and track.sample_rate), None)
    if not tracks:
        return ChosenAudio(None, ())
    if chosen is None:
        return ChosenAudio(None, ("has audio that can't be decoded; it is left out",))
    if len(tracks) == 1:
        return ChosenAudio(chosen, ())
    why = "the default one" if chosen.disposition & default else "the first one that can be decoded"
    texts = (metadata(chosen, key) for key in ("title", "language"))
    facts = [text for text in texts if text and text != "und"]  # ISO 639-2: undetermined
    name = f"number {tracks.index(chosen) + 1}" + (f" ({', '.join(facts)})" if facts else "")
    return ChosenAudio(chosen, (f"has {len(tracks)} audio tracks; {why}, {name}, is heard",))


def audio_info(stream: av.audio.stream.AudioStream) -> AudioInfo:
    """Return facts about an audio stream."""
    layout = stream.codec_context.layout
    count = layout.nb_channels
    # Without a layout in the file, FFmpeg's name for it is "2 channels".
    unnamed = layout.name.endswith("channels") and count <= len(USUAL_LAYOUTS)
    return AudioInfo(stream.sample_rate, count, USUAL_LAYOUTS[count - 1] if unnamed else layout.name)


def _wants_more(pictures: list[av.VideoFrame]) -> bool:
    """Return whether more pictures have to be decoded: one, or more where they may be interlaced."""
    if not pictures:
        return True
    return len(pictures) < _FIRST_PICTURES and pictures[0].height <= _HIGHEST_INTERLACED


def _pictures(
    decoder: av.video.codeccontext.VideoCodecContext, packet: av.Packet[av.stream.Stream] | None
) -> list[av.VideoFrame]:
    try:
        return list(decoder.decode(packet))
    except av.error.FFmpegError:
        return []


def _tags(
    decoder: av.video.codeccontext.VideoCodecContext, stream: av.video.stream.VideoStream
) -> tuple[int, int]:
    """Return transfer curve and primaries, by the coded frames or else by the container."""
    curves, primaries = (
        [getattr(context, name) for context in (decoder, stream.codec_context)]
        for name in ("color_trc", "color_primaries")
    )
    unknown = 2  # AVCOL_TRC_UNSPECIFIED, AVCOL_PRI_UNSPECIFIED
    return next((c for c in curves if c != unknown), unknown), next(
        (p for p in primaries if p != unknown), unknown
    )


def _notes(
    picture: av.VideoFrame, light: Light | None, dolby: DolbyVision | None, interlaced: bool
) -> tuple[str, ...]:
    """Return notes as in `ClipInfo`."""
    notes = [] if dolby is None else [dolby.note]
    bits = _bits(picture)
    if light is not None:
        notes.append(light.note)
    elif bits > 8:
        notes.append(rounding_note(bits))
    if interlaced:
        notes.append("is interlaced; its frames are deinterlaced, at the same rate")
    return tuple(notes)


def _bits(picture: av.VideoFrame) -> int:
    return max(component.bits for component in picture.format.components)


def _shape_notes(picture: av.VideoFrame, square: tuple[int, int], timeline: Timeline) -> Iterator[str]:
    """Yield notes as in `ClipInfo`, about pixels that are not square and a rate that is not constant."""
    if square != (picture.width, picture.height):
        yield (
            f"has pixels that are not square; its frames of {picture.width}x{picture.height} are stretched to "
            f"{square[0]}x{square[1]}"
        )
    if not timeline.constant:
        yield f"has a variable frame rate; it is resampled to {float(timeline.rate):.5g} frames a second"


class _Packets:
    """Times of a video stream's packets, in the order of the file."""

    def __init__(self, stream: av.video.stream.VideoStream):
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.durations: list[int] = []
        self.keys: list[int] = []
        self._vp8 = stream.codec_context.name == "vp8"

    def add(self, packet: av.Packet[av.stream.Stream]) -> None:
        if packet.is_keyframe and packet.pts is not None:
            self.keys.append(packet.pts)
        # Packets outside of an edit list are decoded but not shown; so are VP8's hidden reference frames.
        if packet.is_discard or (self._vp8 and not bytes(packet)[0] & 0x10):
            return
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.durations.append(packet.duration or 0)

    def timing(self, stream: av.video.stream.VideoStream, avi: bool) -> _Timing:
        """Return the frames' timestamps.

        If some are missing, doubled or jump back, the sorted decoding times replace them, or the average rate if those
        are no better. AVI stores decoding times only.
        """
        rates = tuple(map(rational, (stream.guessed_rate, stream.average_rate, stream.base_rate)))
        tick = _tick(stream)
        pts, dts = _increasing(self.pts), _increasing(self.dts)
        if pts is None:
            if dts is not None:
                return _Timing(make_timeline(dts, tick, 0, rates), None, int(dts[0]) * tick)
            rate = next(filter(None, rates), Fraction(25))
            timeline = make_timeline(np.arange(len(self.pts), dtype=np.int64), 1 / rate, 1, (rate,))
            return _Timing(timeline, None, (stream.start_time or 0) * tick)
        last = self.durations[self.pts.index(int(pts[-1]))]
        timeline = make_timeline(pts, tick, last, rates)
        return _Timing(timeline, None, 0 * tick) if avi else _Timing(timeline, pts, int(pts[0]) * tick)


def _tick(stream: av.video.stream.VideoStream) -> Fraction:
    """Return the seconds of a unit of a stream's timestamps."""
    return rational(stream.time_base) or Fraction(1, av.time_base)


@dataclass(frozen=True)
class _Timing:
    """Timing of a video stream, as in VideoTrack."""

    timeline: Timeline
    pts: np.ndarray | None
    start: Fraction


def _increasing(times: list[int | None]) -> np.ndarray | None:
    """Return the sorted times, or None if one is missing, doubled, or moved further than B-frames are."""
    if any(time is None for time in times):
        return None
    values = np.array(times, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    moved = np.abs(order - np.arange(len(order))).max()
    return ordered if (np.diff(ordered) > 0).all() and moved <= _REORDERING else None


def _check_whole(
    name: str,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    video_end: Fraction,
    others_end: Fraction,
) -> None:
    """Compare the stated length with the data, for the video stream or, if it states none, for the whole file.

    Raises:
        MediaError: truncated.
    """
    if not container.format.name.startswith(_STATES_DURATION):
        return
    tick = rational(stream.time_base)
    if stream.duration and tick is not None:
        stated = stream.duration * tick
        reached = video_end - (stream.start_time or 0) * tick
    elif container.duration:
        stated = Fraction(container.duration, av.time_base)
        reached = max(video_end, others_end) - Fraction(container.start_time or 0, av.time_base)
    else:
        return
    if reached < stated - max(_MISSING_SECONDS, stated * _MISSING_SHARE):
        raise MediaError(
            name,
            f"truncated: it states a length of {float(stated):.2f} s, but its data ends after "
            f"{float(reached):.2f} s; copy or download it again",
        )
