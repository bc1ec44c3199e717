"""Motion templates of the draft engine: a driving face's landmarks without its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch

from ...faces.history import MESH
from ...faces.smoothing import Continuity
from ...media import ClipInfo
from ...neutral import measures
from ...tracking import TrackedChunk
from ..base import RecordedMotion

_CHUNK = 64
"""Frames of a template that go at a time."""
_REACH_FRAMES = 4
"""How far from the frame's corner a face's landmarks may lie, in its longer side: a tracked face lies in the frame."""
_LEAST_FACE_PX = 2
"""Least width and height of a face in a template."""


@dataclass(frozen=True)
class DraftTemplate(RecordedMotion):
    """The landmarks of a driving clip's face.

    Attributes:
        landmarks: float32 [N, 479, 3] in pixels of the clip, as `face.with_teeth` has them; anything where the face is
            not present.
        present: bool [N], whether the frame shows the face.
        scenes: int64 [N], the scene of each frame, as `Tracks` numbers them.
        size: width and height of the clip's frames in pixels.
        rate: frames per second, None for a driving still: a template of one frame is one.
    """

    landmarks: torch.Tensor
    present: torch.Tensor
    scenes: torch.Tensor
    size: tuple[int, int]
    rate: Fraction | None

    engine = "draft"

    @property
    def info(self) -> ClipInfo:
        """Facts as of a clip, or a still, without audio."""
        return self.clip_info(*self.size)

    @cached_property
    def begins(self) -> torch.Tensor:
        """Whether the face does not continue from the last frame that shows it, bool [N]."""
        continuity = Continuity()
        shown = enumerate(self.present.tolist())
        return torch.tensor([not present or continuity.begins(self, k) for k, present in shown])

    def measures(self) -> torch.Tensor:
        """Return what makes faces neutral, float32 [N, 8], as `neutral.measures` has it; NaN without a face."""
        return measures(self.landmarks, self.present)

    def chunks(self, count: int, device: str) -> Iterator[TrackedChunk]:
        """Yield the first frames as a driving clip's, with empty pictures on a device."""
        for start in range(0, min(count, len(self)), _CHUNK):
            part = slice(start, min(start + _CHUNK, count))
            present = self.present[part]
            pictures = torch.empty(len(present), 0, 0, 3, dtype=torch.uint8, device=device)
            yield TrackedChunk(pictures, self.landmarks[part], present, start, scenes=self.scenes[part])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a file of it holds, by name."""
        return {
            "landmarks": self.landmarks,
            "present": self.present,
            "scenes": self.scenes,
            "size": torch.tensor(self.size),
        }


def template_of(tensors: Mapping[str, torch.Tensor], rate: Fraction | None) -> DraftTemplate:
    """Return the template that a file holds.

    Raises:
        ValueError: it holds something else; the message is a clause.
        Exception: whatever damaged tensors lead to.
    """
    present, scenes = tensors["present"].bool(), tensors["scenes"].long()
    count = len(present)
    landmarks = tensors["landmarks"].float()
    if landmarks.shape != (count, MESH + 1, 3):
        raise ValueError(
            f"landmarks has the shape {tuple(landmarks.shape)} for {count} frames: record it again"
        )
    if scenes.shape != (count,):
        raise ValueError(f"scenes has the shape {tuple(scenes.shape)} for {count} frames")
    width, height = tensors["size"].tolist()
    seen = landmarks[present]
    if not (0 < width <= 1 << 16 and 0 < height <= 1 << 16):
        raise ValueError(f"its clip has frames of {width}x{height} pixels")
    if len(seen) and not (seen.abs() <= _REACH_FRAMES * max(width, height)).all():
        raise ValueError(f"a landmark in it lies far outside of the clip's frames of {width}x{height} pixels")
    if len(seen) and ((seen.amax(1) - seen.amin(1))[:, :2] < _LEAST_FACE_PX).any():
        raise ValueError("a face in it has no extent")
    return DraftTemplate(landmarks, present, scenes, (int(width), int(height)), rate)
