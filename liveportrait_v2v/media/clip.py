"""Clip of a video, an animation or a still: facts, frames and audio."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ..errors import SettingsError
from .colour import fit_size
from .info import Audio, AudioStream, CheckedAudio, Chunk, ClipInfo
from .readers import Frames, Reader, as_source, open_reader
from .source import MAX_BYTES, MAX_PIXELS
from .timeline import Selection, Window, as_rate, make_window, select_frames


class Clip:
    """A video, an animation or a still picture, given as a path, a binary file object or frames in memory.

    Frames come out as uint8 RGB [N, H, W, 3]: upright (rotation metadata, EXIF orientation), in square pixels
    (anamorphic clips are stretched along the shorter side), with the YUV matrix and range that the stream is
    tagged with (untagged: BT.709 above 576 lines or 1279 columns, else BT.601; limited range), HDR and wide gamuts
    converted to BT.709 (`light`), interlaced frames deinterlaced (`fields`), transparent parts over black.

    Frame k of `chunks()` belongs at time k / info.rate. Frames of a clip with a constant rate are unchanged. A clip
    with a variable rate is resampled by its timestamps to its average rate; `timeline.make_timeline` distinguishes
    the two.

    The file is probed once, at the first use. A path is opened again for every `chunks()` and `audio()`; a
    file object is read into memory here. Any number of generators may therefore run at once, in several threads.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO | Frames,
        *,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        start: Fraction | float = Fraction(0),
        duration: Fraction | float | None = None,
    ):
        """Open a clip.

        Args:
            max_bytes: the largest file that is accepted.
            max_pixels: the largest frame that is accepted, by its header before any is decoded.
            start, duration: a trim window in seconds. Frames outside it are left out; times and audio are relative
                to its start. A still ignores it.

        Raises:
            MediaError: missing, a directory, unreadable, empty or too large a file; frames of a wrong shape.
        """
        self._source = as_source(source, max_bytes, max_pixels)
        self._start = Fraction(start).limit_denominator(10**6)
        self._duration = None if duration is None else Fraction(duration).limit_denominator(10**6)
        self._straight = False
        self._lock = threading.Lock()
        self._probed: tuple[Reader, Window | None] | None = None

    @property
    def name(self) -> str:
        """Path as the user gave it, or the name of a file object."""
        return self._source.name

    @property
    def path(self) -> Path | None:
        """Path of the file; None for a file object or frames in memory."""
        return self._source.path

    @property
    def window(self) -> tuple[Fraction, Fraction | None]:
        """Trim window as given: start and duration in seconds, None to the end."""
        return self._start, self._duration

    def straight(self) -> Clip:
        """Return the same clip with straight colours: what transparent parts hold, instead of that over black."""
        clip = copy.copy(self)
        clip._straight = True
        return clip

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of the whole content, regardless of the trim window."""
        return self._source.digest()

    @property
    def info(self) -> ClipInfo:
        """Facts about the clip inside its trim window.

        Raises:
            MediaError: it can't be read as a clip, or the trim window contains none of its frames.
        """
        reader, window = self._probe()
        if window is None:
            return ClipInfo(
                reader.width,
                reader.height,
                None,
                None,
                1,
                True,
                None,
                notes=reader.notes,
                has_alpha=reader.has_alpha,
                depth=reader.depth,
            )
        return ClipInfo(
            reader.width,
            reader.height,
            window.rate,
            window.duration,
            window.count,
            False,
            reader.audio_info,
            reader.audio_notes,
            reader.notes,
            reader.has_alpha,
            reader.depth,
        )

    @property
    def damage(self) -> tuple[str, ...]:
        """What was replaced so far, in all passes, because it can't be decoded: clauses as in `ClipInfo.notes`."""
        count = len(self._probe()[0].lost)
        if not count:
            return ()
        frames = "1 frame" if count == 1 else f"{count} frames"
        return (f"has {frames} that can't be decoded; what is before is shown there",)

    def output_size(self, max_side: int = 0) -> tuple[int, int]:
        """Return width and height of the frames of `chunks`."""
        info = self.info
        return fit_size(info.width, info.height, max_side)

    def output_rate(self, every_nth: int = 1, rate: Fraction | None = None) -> Fraction | None:
        """Return the frame rate of `chunks` with these options; None for a still."""
        info = self.info
        if info.is_still:
            return None
        if rate:
            return as_rate(rate)
        return None if info.rate is None else info.rate / every_nth

    def output_count(
        self, *, skip: int = 0, cap: int = 0, every_nth: int = 1, rate: Fraction | None = None
    ) -> int:
        """Return the number of frames of `chunks` with these options.

        Raises:
            SettingsError, MediaError: as `chunks` does.
        """
        window = self._probe()[1]
        if window is None:
            return 1
        return len(self._select(window, skip, cap, every_nth, rate).frames)

    def chunks(
        self,
        size: int = 8,
        *,
        skip: int = 0,
        cap: int = 0,
        every_nth: int = 1,
        rate: Fraction | None = None,
        max_side: int = 0,
        pinned: bool = False,
        alpha: bool = False,
        deep: bool = False,
    ) -> Iterator[Chunk]:
        """Decode the clip from its start, `size` frames at a time (fewer in the last chunk).

        The options apply in this order: `skip` leaves out the first frames, `every_nth` takes the first of every n
        that follow, `rate` resamples these to a constant rate (output frame k is the one on screen k / rate seconds
        after the first), `cap` limits the number of output frames (0 = all). Without `rate` the frame rate is
        info.rate / every_nth: see `output_rate`.

        Times count from the clip's (trimmed) start: after a skip the first one is above zero, and the audio of
        the frames begins there.

        A damaged frame is replaced by the one before it; a truncated file is an error (`probe.probe_video`,
        `decode.rgb_pictures`).

        A still is one frame, at time 0; only `max_side` applies to it.

        Args:
            max_side: scale down so that the longest side is at most this; 0 keeps the size.
            pinned: decode into page-locked memory, which a CUDA GPU reads without another copy.
            alpha: give RGBA with straight colours; opaque for a clip without alpha.
            deep: give uint16 RGB, over black, with 256 levels for one of 8 bits: 65280 is white. Of a video file all
                bits, of others 8.

        Raises:
            SettingsError: an option out of range.
            MediaError: the options leave no frame, or the file can't be decoded (while iterating).
        """
        if size < 1 or max_side < 0:
            raise SettingsError(f"size must be 1 or more and max_side 0 or more; got {size} and {max_side}")
        reader, window = self._probe()
        selection = _STILL if window is None else self._select(window, skip, cap, every_nth, rate)
        if deep and alpha:
            raise SettingsError(
                "deep frames have no alpha: got deep=True and alpha=True; read them one by one"
            )
        return _chunks(reader, selection, size, max_side, pinned, self._straight, 4 if alpha else 3, deep)

    def audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> Audio | None:
        """Read the audio of `stream_audio` into memory; None if the clip has no audio track."""
        stream = self.stream_audio(duration, start=start)
        return None if stream is None else stream.read()

    def stream_audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> AudioStream | None:
        """Return the audio from `start`, in seconds from the clip's (trimmed) start.

        Audio that begins later than the video is preceded by silence; audio before the window is cut.

        Returns:
            exactly round(duration * rate) samples, in the track's own rate and layout, with silence where the
            track has none; None if the clip has no audio track.
        """
        reader, window = self._probe()
        if window is None:
            return None
        return reader.stream_audio(window.origin + Fraction(start), Fraction(duration))

    def checked_audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> CheckedAudio:
        """Return the audio of `stream_audio` with notes of what is lost, after decoding it once.

        What can't be decoded is silent. If that is more than half, there is no audio.
        """
        reader, window = self._probe()
        audio, notes = self.stream_audio(duration, start=start), reader.audio_notes
        if window is None or audio is None:
            return CheckedAudio(None, notes)
        check = reader.check_audio(window.origin + Fraction(start), Fraction(duration))
        if check.damaged > check.decoded:
            return CheckedAudio(None, (*notes, "has damaged audio that can't be decoded; it is left out"))
        if check.damaged:
            seconds = f"{float(check.damaged):.2g} s"
            notes = (*notes, f"has damaged audio: {seconds} can't be decoded and are silent")
        return CheckedAudio(audio, notes)

    def _probe(self) -> tuple[Reader, Window | None]:
        with self._lock:
            if self._probed is None:
                reader = open_reader(self._source)
                window = None
                if reader.timeline is not None:
                    window = make_window(reader.name, reader.timeline, self._start, self._duration)
                self._probed = reader, window
            return self._probed

    def _select(
        self, window: Window, skip: int, cap: int, every_nth: int, rate: Fraction | None
    ) -> Selection:
        rate = None if rate is None else as_rate(rate)
        return select_frames(
            self._probe()[0].name, window, skip=skip, cap=cap, every_nth=every_nth, rate=rate
        )


# One frame at time 0; the rate is never used, as there is no second one.
_STILL = Selection(np.zeros(1, np.int64), Fraction(1), Fraction(0))


def _chunks(
    reader: Reader,
    selection: Selection,
    size: int,
    max_side: int,
    pinned: bool,
    straight: bool,
    channels: int,
    deep: bool,
) -> Iterator[Chunk]:
    width, height = fit_size(reader.width, reader.height, max_side)
    total = len(selection.frames)
    index = filled = 0
    straight = straight or channels == 4
    dtype = torch.uint16 if deep else torch.uint8
    with closing(reader.pictures(selection.frames, max_side, straight and not deep, deep)) as pictures:
        for picture, repeats in pictures:
            for _ in range(repeats):
                if filled == 0:
                    shape = min(size, total - index), height, width, channels
                    frames = torch.empty(shape, dtype=dtype, pin_memory=pinned)
                    pixels = frames.numpy()
                if deep and picture.dtype == np.uint8:
                    picture = picture.astype(np.uint16) * 256
                given = min(picture.shape[2], channels)
                pixels[filled, ..., :given] = picture[..., :given]
                pixels[filled, ..., given:] = 255
                filled += 1
                if filled == len(pixels):
                    times = [selection.offset + (index + k) / selection.rate for k in range(filled)]
                    yield Chunk(frames, times, index)
                    index, filled = index + filled, 0
