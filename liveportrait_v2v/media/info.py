"""Types of the package's interface: facts about a clip, chunks of frames, audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch

USUAL_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's names of the default channel layouts of 1, 2, ... 8 channels."""


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
        duration: seconds, exactly `frame_count / rate`. None for a still.
        frame_count: number of frames. 1 for a still.
        is_still: a single picture without time.
        audio: the audio track, or None.
    """

    width: int
    height: int
    rate: Fraction | None
    duration: Fraction | None
    frame_count: int
    is_still: bool
    audio: AudioInfo | None


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of a clip.

    Attributes:
        frames: uint8 [N, H, W, 3], RGB. Not shared: the receiver may keep or change it.
        times: N times, in seconds from the clip's (trimmed) start.
        index: index of the first frame in the output sequence.
    """

    frames: torch.Tensor
    times: list[Fraction]
    index: int


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


class FrameSource(Protocol):
    """Frames with time and audio: a file, a still or frames in memory. `Clip` is one."""

    @property
    def info(self) -> ClipInfo:
        """Facts about the clip."""

    def chunks(self, size: int = 8, *, cap: int = 0) -> Iterator[Chunk]:
        """Decode the clip from its start, `size` frames at a time, at most `cap` frames; 0 = all."""

    def audio(self, duration: Fraction, *, start: Fraction = Fraction(0)) -> Audio | None:
        """Return exactly round(duration * rate) samples from `start`, in seconds; None without audio."""
