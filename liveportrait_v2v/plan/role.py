"""Who is animated, by what, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from ..media import Clip, ClipInfo
from ..settings import AnimationSettings, MotionOptions


@runtime_checkable
class MotionTemplate(Protocol):
    """Driving motion that was read before, for the engine that made it."""

    @property
    def engine(self) -> str:
        """Name of that engine."""

    @property
    def info(self) -> ClipInfo:
        """Frame rate and length, as of a clip."""

    @property
    def begins(self) -> torch.Tensor:
        """Whether the face does not continue from the last frame that shows it, bool [N]."""

    def measures(self) -> torch.Tensor:
        """Return what makes faces neutral, float32 [N, 8], as `neutral.measures` has it."""


@dataclass(frozen=True)
class Role:
    """One face of the source clip and what leads it.

    Attributes:
        driving: clip, still or motion template that leads the face.
        settings: `input_face_index` is the source's face, `drive_face_index` the driving clip's.
        options: what only local engines can do.
    """

    driving: Clip | MotionTemplate
    settings: AnimationSettings = field(default_factory=AnimationSettings)
    options: MotionOptions = field(default_factory=MotionOptions)
