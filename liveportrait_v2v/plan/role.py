"""Who is animated, by what, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch

from ..errors import SettingsError
from ..expression import Expression
from ..faces.given import FaceBoxes
from ..media import Clip, ClipInfo
from ..settings import AnimationSettings, MotionOptions

ALL: Literal["all"] = "all"
MAX_FACES = 6
"""Faces that are numbered in a clip, at most."""


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

    @property
    def present(self) -> torch.Tensor:
        """Whether the frame shows the face, bool [N]."""

    def __len__(self) -> int:
        """Return the number of frames; a template of one is a driving still."""

    def measures(self) -> torch.Tensor:
        """Return what makes faces neutral, float32 [N, 8], as `neutral.measures` has it."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a file of it holds, by name."""


@dataclass(frozen=True)
class Role:
    """One face of the source clip, or every one, and what leads it.

    Attributes:
        driving: clip, still or motion template that leads the face; None leaves it the motion that it has, and the
            expression edits that. Roles with the same `Clip` share its passes.
        settings: `input_face_index` is the source's face and `drive_face_index` the driving clip's; a number that is
            given below is put in their place.
        options: what only local engines can do.
        source_face: number of the source's face; "all" gives each of them this role; None takes the settings' number.
        drive_face: number of the driving clip's face; None takes the settings' number.
        boxes: give the source's face in place of a number, where no detector finds it; `scale`, `vx_ratio` and
            `vy_ratio` of the settings act on the box as on a face's.
        expression: is added to the driving motion; its times are seconds of the result.

    Raises:
        SettingsError: a number out of range, both a number and boxes for the source's face, neither a driving clip nor
            an expression, or the audio of a driving clip without one.
    """

    driving: Clip | MotionTemplate | None = None
    settings: AnimationSettings = field(default_factory=AnimationSettings)
    options: MotionOptions = field(default_factory=MotionOptions)
    source_face: int | Literal["all"] | None = None
    drive_face: int | None = None
    boxes: FaceBoxes | None = None
    expression: Expression | None = None

    def __post_init__(self) -> None:
        if self.driving is None and self.expression is None:
            raise SettingsError("a role needs a driving clip or an expression, got neither; give one or both")
        if self.driving is None and self.settings.driving_audio:
            raise SettingsError("driving_audio needs a driving clip, got a role without one; turn it off")
        if self.boxes is not None and self.source_face is not None:
            raise SettingsError(
                f"a role takes source_face or boxes, got both, {self.source_face!r} and a box; leave one out"
            )
        rules, values = AnimationSettings.rules(), self.settings.to_dict()
        if self.source_face is not None and self.source_face != ALL:
            try:
                values["input_face_index"] = rules["input_face_index"].check("source_face", self.source_face)
            except SettingsError as error:
                raise SettingsError(f'{error}; "all" takes every face') from None
        if self.drive_face is not None:
            values["drive_face_index"] = rules["drive_face_index"].check("drive_face", self.drive_face)
        object.__setattr__(self, "settings", AnimationSettings.from_dict(values))

    @property
    def source_faces(self) -> tuple[int | FaceBoxes, ...]:
        """The source's faces that the role animates where they appear: their numbers, or what gives the one."""
        if self.boxes is not None:
            return (self.boxes,)
        return tuple(range(MAX_FACES)) if self.source_face == ALL else (self.settings.input_face_index,)

    @property
    def driving_name(self) -> str:
        """Name of the driving clip's file, or of what leads in its place, for messages."""
        if self.driving is None:
            return "expression"
        return Path(self.driving.name).name if isinstance(self.driving, Clip) else "motion template"

    @property
    def driving_rate(self) -> Fraction | None:
        """Frames per second of the driving clip, None for a still or without one."""
        return None if self.driving is None else self.driving.info.rate


def name_of(roles: Sequence[Role], place: int) -> str:
    """Return the name of one of several roles for messages, such as "role 1 (b.mp4)"."""
    return f"role {place + 1} ({roles[place].driving_name})"
