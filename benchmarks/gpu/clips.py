"""Clips for the runs: short ones that are carried, and long ones made of them where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from .options import Options

if TYPE_CHECKING:
    from liveportrait_v2v.media import Audio, Clip

NAMES = ("source", "driving_wide", "driving_square")
"""Carried clips: 1280x720, 1280x720 and 512x512, with one rate, and a face and sound from the first frame on."""


def carried(options: Options, name: str) -> Path:
    """Return the path of a carried clip.

    Raises:
        FileNotFoundError: it was not gathered.
    """
    path = options.carried / f"{name}.mp4"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; run `python -m benchmarks.gpu gather` and carry its folder along"
        )
    return path


def scaled(frames: Tensor, width: int, height: int, left: int = 0, top: int = 0) -> Tensor:
    """Cut the largest part of this shape out of frames uint8 [N, H, W, 3], from a corner on, and scale it."""
    ratio = min((frames.shape[2] - left) / width, (frames.shape[1] - top) / height)
    part = frames[:, top : top + round(height * ratio), left : left + round(width * ratio)]
    pictures = F.interpolate(part.permute(0, 3, 1, 2), (height, width), mode="bicubic", antialias=True)
    return pictures.permute(0, 2, 3, 1)


def write_clip(
    path: Path,
    clip: Clip,
    size: tuple[int, int],
    audio: Audio | None,
    corner: tuple[int, int] = (0, 0),
    rate: Fraction | None = None,
    crf: int | None = None,
) -> Path:
    """Write a clip's frames, scaled, with sound; at another rate they are slower or faster than before."""
    from liveportrait_v2v.media import VideoWriter

    rate = rate or clip.info.rate
    assert rate is not None
    with VideoWriter(path, rate, audio=audio, crf=crf) as writer:
        for chunk in clip.chunks(8):
            writer.write(scaled(chunk.frames, *size, *corner))
    return path


def long_clip(path: Path, short: Path, frames: int) -> Path:
    """Repeat a clip's packets until it has at least this many frames: nothing is coded anew.

    Raises:
        ValueError: the clip has no frames.
    """
    import av

    with av.open(str(short)) as given, av.open(str(path), "w") as out:
        video, audio = given.streams.video[0], given.streams.audio[0]
        streams = {stream.index: out.add_stream_from_template(stream) for stream in (video, audio)}
        counts = {stream.index: sum(1 for _ in _packets(given, stream.index)) for stream in (video, audio)}
        if not counts[video.index]:
            raise ValueError(f"{short} has no frames")
        # Ticks of one lap; each stream goes on where it ended.
        ticks = {
            video.index: round(Fraction(counts[video.index]) / video.average_rate / video.time_base),
            audio.index: round(
                Fraction(counts[audio.index] * audio.codec_context.frame_size, audio.rate) / audio.time_base
            ),
        }
        for lap in range(-(-frames // counts[video.index])):
            for packet in _packets(given, *streams):
                index = packet.stream.index
                packet.pts += lap * ticks[index]
                packet.dts += lap * ticks[index]
                packet.stream = streams[index]
                out.mux(packet)
    return path


def _packets(container, *indices: int) -> Iterator:
    """Yield the packets of some streams, from the beginning."""
    container.seek(0)
    for packet in container.demux(*(container.streams[index] for index in indices)):
        if packet.size:
            yield packet
