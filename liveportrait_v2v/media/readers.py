"""Readers of a clip: a video file, a picture file, or frames in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO, ClassVar, Protocol

import numpy as np
import torch
from PIL import Image

from ..errors import MediaError
from .audio import check_audio, stream_audio
from .colour import fit_size, over_black
from .decode import rgb_pictures
from .info import USUAL_LAYOUTS, Audio, AudioCheck, AudioInfo, AudioStream
from .probe import probe_video
from .source import Source, check_size
from .stills import animation_pictures, is_picture, probe_picture, read_still
from .timeline import Timeline


@dataclass(frozen=True)
class Frames:
    """Frames in memory, for use as a clip.

    Attributes:
        images: [N, H, W, C], N >= 1; uint8, or floating point where 0..1 is black to white. C is 1 (grey), 3 (RGB)
            or 4 (RGBA).
        rate: frames per second; None makes a still, and requires N = 1.
        audio: its first sample is heard with the first frame.
        audio_notes: as in `ClipInfo`.
    """

    images: torch.Tensor
    rate: Fraction | None = None
    audio: Audio | None = None
    audio_notes: tuple[str, ...] = ()

    name: ClassVar[str] = "images"
    path: ClassVar[None] = None

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of images, rate and audio."""
        facts = (str(self.images.dtype), tuple(self.images.shape), str(self.rate))
        digest = hashlib.sha256(repr(facts).encode())
        for image in self.images:
            digest.update(image.contiguous().cpu().numpy().tobytes())
        if self.audio is not None:
            digest.update(
                repr((self.audio.rate, tuple(self.audio.samples.shape), self.audio.layout)).encode()
            )
            digest.update(self.audio.samples.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


class Reader(Protocol):
    """Access to a clip as stored: a video file, a picture file or frames in memory."""

    @property
    def name(self) -> str:
        """Name of the clip in errors."""

    @property
    def width(self) -> int:
        """Width of the upright frames, in square pixels."""

    @property
    def height(self) -> int:
        """Height of the upright frames, in square pixels."""

    @property
    def timeline(self) -> Timeline | None:
        """Times of the frames, None for a still."""

    @property
    def audio_info(self) -> AudioInfo | None:
        """Facts about the audio track, or None."""

    @property
    def lost(self) -> set[int]:
        """Numbers of the frames so far that could not be decoded, and were replaced by the ones before."""

    @property
    def has_alpha(self) -> bool:
        """As in `ClipInfo`."""

    @property
    def depth(self) -> int:
        """As in `ClipInfo`."""

    def pictures(
        self, wanted: np.ndarray, max_side: int, straight: bool, deep: bool = False
    ) -> Generator[tuple[np.ndarray, int], None, None]:
        """Yield the frames with these numbers, int64 [n] in non-decreasing order.

        Each is uint8 [H, W, 3], over black where it has alpha, with the number of times that it occurs in `wanted`;
        where `straight`, those with alpha are [H, W, 4] with straight colours. Where `deep`, a video gives uint16 as
        `colour.to_rgb` does.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `ClipInfo`."""

    @property
    def audio_notes(self) -> tuple[str, ...]:
        """As in `ClipInfo`."""

    def stream_audio(self, start: Fraction, duration: Fraction) -> AudioStream | None:
        """Return exactly round(duration * rate) samples from `start`, in seconds from the first frame."""

    def check_audio(self, start: Fraction, duration: Fraction) -> AudioCheck:
        """Decode that audio, and add up what can be decoded."""


def open_reader(source: Source | Frames) -> Reader:
    """Return the reader of a source.

    Raises:
        MediaError: it can't be read as a clip.
    """
    if isinstance(source, Frames):
        return _MemoryReader(source)
    return _PictureReader(source) if is_picture(source) else _VideoReader(source)


def as_source(
    source: str | os.PathLike[str] | BinaryIO | Frames, max_bytes: int, max_pixels: int
) -> Source | Frames:
    """Open a source.

    Raises:
        MediaError: missing, a directory, unreadable, empty or too large a file; frames of a wrong shape.
    """
    if not isinstance(source, Frames):
        return Source(source, max_bytes, max_pixels)
    shape = tuple(source.images.shape)
    if len(shape) != 4 or shape[3] not in (1, 3, 4) or not shape[0]:
        raise MediaError(
            "images", f"must be [N, H, W, C] with N >= 1 and 1, 3 or 4 channels, got {list(shape)}"
        )
    if source.rate is None and shape[0] > 1:
        raise MediaError("images", f"a still is one image, got {shape[0]}; give them a frame rate")
    if source.audio is not None and not 1 <= len(source.audio.samples) <= len(USUAL_LAYOUTS):
        raise MediaError("images", f"their audio must have 1 to 8 channels, got {len(source.audio.samples)}")
    check_size("images", shape[2], shape[1], max_pixels)
    return source


class _VideoReader:
    def __init__(self, source: Source):
        self._source = source
        self._track = track = probe_video(source)
        self.name = source.name
        self.width, self.height = track.width, track.height
        self.lost: set[int] = set()
        self.timeline, self.notes, self.has_alpha = track.timeline, track.notes, track.has_alpha
        self.depth = track.depth
        self.audio_info, self.audio_notes = track.audio, track.audio_notes

    def pictures(
        self, wanted: np.ndarray, max_side: int, straight: bool, deep: bool = False
    ) -> Generator[tuple[np.ndarray, int], None, None]:
        return rgb_pictures(self._source, self._track, wanted, max_side, straight, self.lost, deep)

    def stream_audio(self, start: Fraction, duration: Fraction) -> AudioStream | None:
        track = self._track
        if track.audio is None or track.audio_index is None:
            return None
        return stream_audio(self._source, track.audio_index, track.audio, track.start + start, duration)

    def check_audio(self, start: Fraction, duration: Fraction) -> AudioCheck:
        track = self._track
        if track.audio_index is None:
            return AudioCheck(Fraction(0), Fraction(0))
        return check_audio(self._source, track.audio_index, track.start + start, duration)


class _PictureReader:
    audio_info = None
    audio_notes = ()
    depth = 8

    def __init__(self, source: Source):
        self._source = source
        picture = probe_picture(source)
        self.name = source.name
        self.width, self.height, self.timeline = picture.width, picture.height, picture.timeline
        self.has_alpha, self.notes = picture.has_alpha, picture.notes
        self.lost: set[int] = set()

    def pictures(
        self, wanted: np.ndarray, max_side: int, straight: bool, deep: bool = False
    ) -> Generator[tuple[np.ndarray, int], None, None]:
        if self.timeline is None:
            yield read_still(self._source, max_side, straight), len(wanted)
        else:
            yield from animation_pictures(self._source, wanted, max_side, straight)

    def stream_audio(self, start: Fraction, duration: Fraction) -> AudioStream | None:
        return None

    def check_audio(self, start: Fraction, duration: Fraction) -> AudioCheck:
        return AudioCheck(Fraction(0), Fraction(0))


class _MemoryReader:
    name = Frames.name
    notes = ()
    depth = 8

    def __init__(self, frames: Frames):
        self._frames = frames
        count, self.height, self.width, channels = frames.images.shape
        self.has_alpha = channels == 4
        self.lost: set[int] = set()
        self.timeline: Timeline | None = None
        self.audio_info: AudioInfo | None = None
        self.audio_notes = frames.audio_notes
        if frames.rate is not None:
            self.timeline = Timeline(np.arange(count), 1 / frames.rate, count, frames.rate, True)
        if frames.audio is not None and frames.rate is not None:
            count = len(frames.audio.samples)
            layout = frames.audio.layout or USUAL_LAYOUTS[count - 1]
            self.audio_info = AudioInfo(frames.audio.rate, count, layout)

    def pictures(
        self, wanted: np.ndarray, max_side: int, straight: bool, deep: bool = False
    ) -> Generator[tuple[np.ndarray, int], None, None]:
        size = fit_size(self.width, self.height, max_side)
        numbers, repeats = np.unique(wanted, return_counts=True)
        for number, repeat in zip(numbers.tolist(), repeats.tolist(), strict=True):
            pixels = _pixels(self._frames.images[number], straight)
            if size != (self.width, self.height):
                pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
            yield pixels, repeat

    def stream_audio(self, start: Fraction, duration: Fraction) -> AudioStream | None:
        audio, info = self._frames.audio, self.audio_info
        if audio is None or info is None:
            return None
        stream = audio.stream(round(start * audio.rate), round(duration * audio.rate))
        return replace(stream, layout=info.layout)

    def check_audio(self, start: Fraction, duration: Fraction) -> AudioCheck:
        return AudioCheck(duration, Fraction(0))


def _pixels(image: torch.Tensor, straight: bool) -> np.ndarray:
    """Return an image as uint8 [H, W, 3], with alpha over black, or where `straight` as [H, W, 4]."""
    if image.is_floating_point():
        image = image.float().nan_to_num(0.0).mul(255).round_().clamp_(0, 255).to(torch.uint8)
    pixels = image.cpu().numpy()
    if pixels.shape[2] == 4:
        return pixels if straight else over_black(pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
