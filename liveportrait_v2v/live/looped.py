"""A source that is shown over and over again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
import torch.nn.functional as F

from ..engines.base import Engine
from ..media import Clip, Frames
from ..plan.role import MAX_FACES
from ..run.gaps import SourceChunk, mend_source
from ..run.missing import missing_face
from ..settings import AnimationSettings, MotionOptions
from ..tracking import TrackedChunk, TrackedClip

MAX_SIDE = 1280
"""Longest side of the frames in pixels; larger ones are scaled down."""
MAX_BYTES = 256 << 20
"""Memory that the frames take at most: 12 s of 640x480 at 25 frames a second. Longer clips are cut."""


@dataclass(frozen=True)
class LoopedSource:
    """A still or a clip in memory, with the tracks of its faces, that starts again at its end.

    Attributes:
        name: of its file, for messages.
        rate: frames per second, None for a still.
        chunks: of each face, by its number, all frames: those of a clip with their gaps mended.
        notes: what is less than what the file holds; a sentence each.
    """

    name: str
    rate: Fraction | None
    chunks: tuple[SourceChunk, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, clip: Clip, engine: Engine, name: str, max_bytes: int = MAX_BYTES) -> LoopedSource:
        """Decode a clip and track its faces, once for all.

        Args:
            max_bytes: of the frames.

        Raises:
            MediaError: the clip can't be read.
            FaceNotFoundError: it shows no face.
        """
        width, height = clip.output_size(MAX_SIDE)
        total = clip.info.frame_count
        count = min(total, max(1, max_bytes // (3 * width * height)))
        frames = torch.cat([part.frames for part in clip.chunks(8, cap=count, max_side=MAX_SIDE)])
        chunks, faces = _tracked(frames, clip.info.rate, engine)
        if not faces:
            raise missing_face("source", 0, "source_face", faces=0, read=count, total=total)
        notes = []
        if (width, height) != (clip.info.width, clip.info.height):
            notes.append(
                f"The source is scaled down from {clip.info.width}x{clip.info.height} to {width}x{height}."
            )
        if count < total:
            notes.append(f"The source is long: its first {count} of {total} frames are repeated.")
        return cls(name, clip.info.rate, tuple(chunks[:faces]), tuple(notes))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames in pixels."""
        height, width = self.chunks[0].tracked.frames.shape[1:3]
        return width, height

    @property
    def faces(self) -> int:
        """Number of faces."""
        return len(self.chunks)

    def at(self, face: int, seconds: float) -> SourceChunk:
        """Return the frame that is shown at a time, with the track of a face, as a chunk of one.

        The last face stands for a number beyond it.
        """
        chunk = self.chunks[min(face, self.faces - 1)]
        return _part(chunk, 0 if self.rate is None else int(seconds * float(self.rate)) % len(chunk))

    def first(self, face: int) -> SourceChunk:
        """Return the first frame that shows a face, with its track, as a chunk of one."""
        chunk = self.chunks[min(face, self.faces - 1)]
        return _part(chunk, int(chunk.tracked.present.int().argmax()))


def _tracked(frames: torch.Tensor, rate: Fraction | None, engine: Engine) -> tuple[list[SourceChunk], int]:
    """Return all frames with the track of each number that there may be, and how many numbers there are."""
    session = engine.session(AnimationSettings(), MotionOptions(), rate, rate)
    clip, frames = Clip(Frames(frames, rate)), frames.to(engine.device)
    with TrackedClip(
        clip, range(MAX_FACES), device=engine.device, add_points=engine.add_points, points=engine.name
    ) as tracked:
        # The frames are in memory once, whatever the number of faces.
        rows = [
            [replace(part, frames=frames[part.index : part.index + len(part)]) for part in row]
            for row in tracked.chunks()
        ]
        columns = zip(*rows, strict=True)
        mended = [list(mend_source(iter(column), session.source, rate or Fraction(1))) for column in columns]
        return [_joined(column, frames, still=rate is None) for column in mended], tracked.faces


def _joined(chunks: list[SourceChunk], frames: torch.Tensor, still: bool) -> SourceChunk:
    """Return consecutive chunks of all frames as one."""
    parts = [chunk.tracked for chunk in chunks]
    most = max(part.others.shape[1] for part in parts)
    # Faces that are found later are none in the frames before.
    others = [F.pad(part.others, (0, 0, 0, most - part.others.shape[1])) for part in parts]
    tracked = TrackedChunk(
        frames,
        torch.cat([part.landmarks for part in parts]),
        torch.cat([part.present for part in parts]),
        held=still,
        scenes=torch.cat([part.scenes for part in parts]),
        others=torch.cat(others),
    )
    seen, opacity = torch.cat([c.seen for c in chunks]), torch.cat([c.opacity for c in chunks])
    return SourceChunk(tracked, seen, opacity)


def _part(chunk: SourceChunk, k: int) -> SourceChunk:
    return SourceChunk(chunk.tracked[k : k + 1], chunk.seen[k : k + 1], chunk.opacity[k : k + 1])
