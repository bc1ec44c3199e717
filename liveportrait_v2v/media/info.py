"""Types of the package's interface: facts about a clip, chunks of frames, audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch

USUAL_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's names of the default channel layouts of 1, 2, ... 8 channels."""


def rounding_note(bits: int) -> str:
    """Return the note as in `ClipInfo` of a clip with more than 8 bits a colour."""
    return f"has {bits} bits a colour; they are rounded to 8"


@dataclass(frozen=True)
class AudioInfo:
    """The audio track of a clip.

    Attributes:
        sample_rate: samples per second.
        channels: number of channels.
        layout: FFmpeg's name of the channel layout, such as "mono", "stereo" or "5.1".
    """

    sample_rate: int
    channels: int
    layout: str


@dataclass(frozen=True)
class ClipInfo:
    """Facts about a clip inside its trim window, as `Clip.chunks()` yields it without options.

    Attributes:
        width, height: size of a frame in square pixels, after rotation.
        rate: frames per second, the average of a variable frame rate. None for a still.
        duration: seconds, exactly `frame_count / rate`. None for a still, and for a live source.
        frame_count: number of frames. 1 for a still, 0 for a live source, whose length nobody knows.
        is_still: a single picture without time.
        audio: the audio track, or None.
        audio_notes: about the choice of the track, or why none of them can be decoded: clauses whose subject is the
            clip, such as "has 2 audio tracks; ...".
        notes: about what is changed of the pictures; clauses as well.
        has_alpha: its frames have an alpha channel.
        depth: bits a colour that `chunks(deep=True)` gives.
    """

    width: int
    height: int
    rate: Fraction | None
    duration: Fraction | None
    frame_count: int
    is_still: bool
    audio: AudioInfo | None
    audio_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    has_alpha: bool = False
    depth: int = 8


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of a clip.

    Attributes:
        frames: uint8 [N, H, W, 3], RGB, or [N, H, W, 4] with alpha where that was asked for; uint16 where more bits
            were. Not shared: the receiver may keep or change it.
        times: N times, in seconds from the clip's (trimmed) start.
        index: index of the first frame in the output sequence.
    """

    frames: torch.Tensor
    times: list[Fraction]
    index: int


@dataclass(frozen=True)
class AudioStream:
    """Audio of a known length that is read block by block, any number of times.

    Attributes:
        rate: samples per second.
        channels: number of channels.
        count: number of samples of each channel.
        layout: FFmpeg's name of the channel layout; None means the default for this many channels.
        blocks: starts reading. Each block is the number of its first sample, and float32 [C, n], full scale -1..1.
            Blocks come in order and don't overlap; what lies between them is silent.
    """

    rate: int
    channels: int
    count: int
    layout: str | None
    blocks: Callable[[], Iterator[tuple[int, torch.Tensor]]]

    def read(self) -> Audio:
        """Read all samples into memory: 4 bytes each."""
        # NumPy's zeros take memory only where something is written.
        samples = torch.from_numpy(np.zeros((self.channels, self.count), np.float32))
        for at, block in self.blocks():
            samples[:, at : at + block.shape[1]] = block
        return Audio(samples, self.rate, self.layout)

    def repeated(self, count: int) -> AudioStream:
        """Return the audio over and over again, `count` samples in all."""

        def blocks() -> Iterator[tuple[int, torch.Tensor]]:
            for lap in range(0, count, self.count):
                for at, block in self.blocks():
                    if lap + at >= count:
                        break
                    yield lap + at, block[:, : count - lap - at]

        return replace(self, count=count, blocks=blocks)


@dataclass(frozen=True)
class AudioCheck:
    """How much of an audio track can be decoded and how much can't, in seconds."""

    decoded: Fraction
    damaged: Fraction


@dataclass(frozen=True)
class CheckedAudio:
    """Audio of a clip, None without any, and notes of what is lost: clauses as in `ClipInfo.audio_notes`."""

    audio: AudioStream | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Audio:
    """Audio samples.

    Attributes:
        samples: float32 [C, T], full scale is -1..1.
        rate: samples per second.
        layout: FFmpeg's name of the channel layout; None means the default for C channels.
    """

    samples: torch.Tensor
    rate: int
    layout: str | None = None

    def stream(self, start: int = 0, count: int | None = None) -> AudioStream:
        """Return `count` samples from number `start`; None takes all that follow, and beyond the end is silence."""
        part = self.samples[:, start:][:, :count]
        count = part.shape[1] if count is None else count
        blocks = [(0, part)] if part.shape[1] else []
        return AudioStream(self.rate, len(part), count, self.layout, lambda: iter(blocks))


class FrameSource(Protocol):
    """Frames with time and audio: a file, a still, frames in memory, a camera. `Clip` and `live.LiveSource` are."""

    @property
    def info(self) -> ClipInfo:
        """Facts about the clip."""

    def chunks(self, size: int = 8, *, cap: int = 0) -> Iterator[Chunk]:
        """Decode the clip from its start, `size` frames at a time, at most `cap` frames; 0 = all."""

    def audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> Audio | None:
        """Return exactly round(duration * rate) samples from `start`, in seconds; None without audio."""
