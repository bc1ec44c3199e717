"""Preparation of clips for upload: only the needed frames, at one rate, so that frame n pairs with frame n."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av.error
import torch

from ...errors import Cancelled
from ...media import AudioStream, Clip, VideoWriter
from ...media.pyav import open_input, rational
from ...plan.pairing import Pairing

# Frames; a run can be stopped between two chunks.
_CHUNK = 4


def source_numbers(pairing: Pairing) -> list[int]:
    """Return the source frame that each frame of the result shows."""
    return [pairing.source_at(frame)[1] for frame in range(pairing.frames)]


def driving_numbers(pairing: Pairing) -> list[int]:
    """Return the driving frame nearest to each frame of the result."""
    last = max(pairing.driving_frames - 1, 0)
    places = (pairing.driving_at(frame)[1] for frame in range(pairing.frames))
    return [min(int(place + Fraction(1, 2)), last) for place in places]


def prepare(
    clip: Clip,
    numbers: list[int],
    pairing: Pairing,
    audio: AudioStream | None,
    target: Path,
    stop: Callable[[], bool],
) -> Path:
    """Return a file that shows these frames of the clip at the pairing's rate.

    Args:
        numbers: frame of the clip for each frame of the file.
        audio: audio of the file.
        target: path of the .mp4 to write.

    Returns:
        target, or the clip's own file if it needs no work.

    Raises:
        Cancelled: `stop` returned True.
        MediaError: the clip can't be read, or the file can't be written.
    """
    if clip.path is not None and is_ready(clip, numbers, pairing):
        return clip.path
    with VideoWriter(target, pairing.rate, audio=audio) as writer:
        for frame in frames_at(clip, numbers):
            if stop():
                raise Cancelled("stopped while the clips were prepared")
            writer.write(frame[None])
    return target


def frames_at(clip: Clip, numbers: Iterable[int]) -> Iterator[torch.Tensor]:
    """Yield frames uint8 [H, W, 3] of a clip by number; a smaller number than the last restarts decoding."""
    frames: Iterator[torch.Tensor] = iter(())
    at, frame = -1, torch.empty(0)
    for number in numbers:
        if number < at or at < 0:
            frames, at = (frame for chunk in clip.chunks(_CHUNK) for frame in chunk.frames), -1
        while at < number:
            frame, at = next(frames), at + 1
        yield frame


def is_ready(clip: Clip, numbers: list[int], pairing: Pairing) -> bool:
    """Return whether a file is an upright H.264 mp4 with exactly these frames, evenly spaced at this rate."""
    info = clip.info
    if (
        clip.window != (0, None)
        or info.is_still
        or info.rate != pairing.rate
        or numbers != list(range(info.frame_count))
    ):
        return False
    try:
        with open_input(f"file:{clip.path}") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or "mp4" not in container.format.name or stream.codec_context.name != "h264":
                return False
            if stream.codec_context.pix_fmt != "yuv420p" or (rational(stream.sample_aspect_ratio) or 1) != 1:
                return False
            times = sorted(packet.pts for packet in container.demux(stream) if packet.size)
            container.seek(0)
            upright = next(container.decode(stream)).rotation == 0
    except (av.error.FFmpegError, StopIteration, TypeError):
        return False
    steps = {after - before for before, after in pairwise(times)}
    return upright and len(times) == info.frame_count and len(steps) <= 1
