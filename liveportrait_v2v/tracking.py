"""Decoding a clip and tracking its faces: the one step behind every pass through a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .concurrency import OwnStream, Stopwatch
from .faces import FaceTracker, Tracks
from .media import Chunk, Clip


@dataclass(frozen=True)
class TrackedChunk:
    """Consecutive frames of a clip with the track of one face.

    Attributes:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels, on the CPU; zeros where the face is not present. An engine's `source`
            may append points of its own.
        present: bool [N], on the CPU.
        index: number of the first frame in its clip.
        held: every frame is frame `index` of the clip.
    """

    frames: torch.Tensor
    landmarks: torch.Tensor
    present: torch.Tensor
    index: int = 0
    held: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, part: slice) -> TrackedChunk:
        """Return some consecutive frames, as views."""
        index = self.index if self.held else self.index + range(len(self))[part].start
        return TrackedChunk(self.frames[part], self.landmarks[part], self.present[part], index, self.held)

    def hold(self, count: int) -> TrackedChunk:
        """Return a chunk that shows the last frame `count` times, without copies of it."""
        frame, landmarks, present = self.frames[-1:], self.landmarks[-1:], self.present[-1:]
        return TrackedChunk(
            frame.expand(count, -1, -1, -1),
            landmarks.expand(count, -1, -1),
            present.expand(count),
            self.index if self.held else self.index + len(self) - 1,
            held=True,
        )


def track(
    clip: Clip,
    *,
    device: str = "cpu",
    order: str = "large-small",
    only: int | None = None,
    chunk: int = 8,
    cap: int = 0,
    clock: Stopwatch | None = None,
) -> Iterator[tuple[Chunk, Tracks]]:
    """Decode a clip and track its faces, chunk by chunk, in one pass from its start.

    Args:
        device: where the frames go and torch computes.
        order, only: as `FaceTracker` has them.
        chunk: frames at a time.
        cap: most frames to read; 0 = all.
        clock: counts the seconds of the stages "decode" and "track".

    Yields:
        the frames, on the device, and the tracks of all faces numbered so far.

    Raises:
        MediaError: the clip can't be decoded.
        SettingsError: an option out of range.
    """
    clock = clock or Stopwatch()
    tracker = FaceTracker(device=device, order=order, only=only)
    own_stream = OwnStream(device)
    for part in clock.each("decode", clip.chunks(chunk, cap=cap)):
        with clock("track"), own_stream:
            frames = part.frames.to(device)
            tracks = tracker.track(frames)
            own_stream.hand_over(frames)
        yield Chunk(frames, part.times, part.index), tracks


def track_face(
    clip: Clip,
    number: int,
    *,
    device: str = "cpu",
    order: str = "large-small",
    chunk: int = 8,
    cap: int = 0,
    clock: Stopwatch | None = None,
) -> Iterator[TrackedChunk]:
    """Decode a clip and track the face of this number; arguments and errors are those of `track`."""
    for part, tracks in track(
        clip, device=device, order=order, only=number, chunk=chunk, cap=cap, clock=clock
    ):
        yield TrackedChunk(part.frames, *tracks.face(number), part.index)
