"""One face of one frame, prepared so that expressions are drawn on it as quickly as a slider moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..compose import rect_of, to_float
from ..engines import create_engine
from ..engines.base import Edits, Engine
from ..engines.draft.engine import DraftEngine, DraftSession
from ..errors import Cancelled
from ..expression import Expression
from ..geometry import face_crop
from ..media import Clip
from ..resampling import resize
from ..settings import AnimationSettings, MotionOptions
from ..tracking import TrackedChunk, track
from .look import LOOK_FRAMES
from .missing import missing_face

MAX_SIDE_PX = 512
"""Longest side of the picture."""


@dataclass(frozen=True)
class StillFace:
    """A face, cut out of a frame by its square and no larger than 512 pixels.

    Attributes:
        chunk: the picture, a chunk of one frame; not modified.
        number: of the frame in its clip.
    """

    chunk: TrackedChunk
    number: int

    @classmethod
    def of(
        cls,
        clip: Clip,
        face: int = 0,
        seconds: float = 0.0,
        cancelled: Callable[[], bool] | None = None,
    ) -> StillFace:
        """Return a face of the first frame from a time on that shows it; 300 frames are looked at from there.

        The clip is tracked from its start on: faces have the numbers that a run gives them.

        Args:
            cancelled: asked before each chunk of the clip.

        Raises:
            FaceNotFoundError: no such frame shows it.
            MediaError: the clip can't be decoded.
            Cancelled: `cancelled` returned True.
        """
        info = clip.info
        first = 0 if info.rate is None else min(int(seconds * info.rate), info.frame_count - 1)
        found, read = 0, 0
        for part, tracks in track(clip, cap=first + LOOK_FRAMES):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while looking for the face")
            landmarks, present, _ = tracks.face(face)
            found, read = tracks.present.shape[1], part.index + len(part.frames)
            for k in range(max(0, first - part.index), len(part.frames)):
                if present[k]:
                    return cls._cut(part.frames[k : k + 1], landmarks[k : k + 1], part.index + k)
        raise missing_face("source", face, "`face`", faces=found, read=read, total=info.frame_count)

    @classmethod
    def _cut(cls, frame: torch.Tensor, landmarks: torch.Tensor, number: int) -> StillFace:
        region = rect_of(face_crop(landmarks, AnimationSettings()), *frame.shape[1:3])
        picture = region.of(frame)
        points = landmarks - torch.tensor([region.left, region.top, 0.0])
        scale = MAX_SIDE_PX / max(picture.shape[1:3])
        if scale < 1:
            height, width = (max(1, round(side * scale)) for side in picture.shape[1:3])
            picture = resize(to_float(picture), height, width).round().to(torch.uint8).permute(0, 2, 3, 1)
            points = points * scale
        return cls(TrackedChunk(picture.contiguous(), points, torch.ones(1, dtype=torch.bool)), number)

    def edited(self, engine: Engine, expression: Expression, seconds: float = 0.0) -> torch.Tensor:
        """Return the picture with the expression of a time, uint8 [H, W, 3] on the CPU, by any local engine."""
        session = engine.session(AnimationSettings(), MotionOptions(), None, None)
        frames = self.chunk.frames.to(engine.device)
        chunk = TrackedChunk(frames, self.chunk.landmarks, self.chunk.present)
        (chunk,) = session.source(iter([engine.add_points(chunk)]))
        edits = _edits(expression, seconds)
        if not edits.changed.any():
            return self.chunk.frames[0]
        return session.render(chunk, None, edits=edits).settled().frames[0].cpu()


class QuickEditor:
    """Draws expressions on one face by the draft engine. Each picture depends on its expression alone.

    For one thread at a time.
    """

    def __init__(self, still: StillFace):
        engine = create_engine("draft")
        assert isinstance(engine, DraftEngine)
        session = engine.session(AnimationSettings(), MotionOptions(), None, None)
        assert isinstance(session, DraftSession)
        (self._chunk,) = session.source(iter([still.chunk]))
        session.render(self._chunk, None)
        self._session = session

    def edited(self, expression: Expression, seconds: float = 0.0) -> torch.Tensor:
        """Return the picture with the expression of a time, uint8 [H, W, 3]."""
        edits = _edits(expression, seconds)
        if not edits.changed.any():
            return self._chunk.frames[0]
        return self._session.again().render(self._chunk, None, edits=edits).frames[0]


def _edits(expression: Expression, seconds: float) -> Edits:
    return Edits(torch.tensor([expression.row(seconds)], dtype=torch.float32))
