"""What an engine is, and what passes through it: chunks of frames, or whole clips."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch

from ..errors import SettingsError
from ..media import Audio, Clip, ClipInfo
from ..plan.pairing import Pairing
from ..settings import AnimationSettings, MotionOptions


@dataclass(frozen=True)
class TrackedChunk:
    """A chunk of a clip with the track of the one face that was chosen.

    Attributes:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels, on the CPU; zeros where the face is not present. An engine's `source`
            may append points of its own.
        present: bool [N], on the CPU.
        held: every frame is the last one of the shot before: what is known of that one holds here too.
    """

    frames: torch.Tensor
    landmarks: torch.Tensor
    present: torch.Tensor
    held: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    def hold(self, count: int) -> TrackedChunk:
        """A shot that shows the last frame so many times, without copies of it."""
        frame, landmarks, present = self.frames[-1:], self.landmarks[-1:], self.present[-1:]
        return TrackedChunk(
            frame.expand(count, -1, -1, -1), landmarks.expand(count, -1, -1), present.expand(count), held=True
        )


@dataclass(frozen=True)
class DrivingMotion:
    """What the driving clip says at the moment of one output frame.

    `before` and `after` are the motions of the driving frames on both sides of that moment, `fraction` (0..1) says
    how far between them it lies. A motion is whatever float tensor the engine's `motions` made of a frame, None
    without a face.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    fraction: float

    @property
    def missing(self) -> bool:
        """Whether there is no motion: the nearer of the two frames has no face."""
        return self._nearer() is None

    def motion(self) -> torch.Tensor | None:
        """The motion at that moment, on the straight line from one to the other.

        Where only one of the two frames has a face, the nearer one decides.
        """
        if self.before is None or self.after is None:
            return self._nearer()
        return torch.lerp(self.before, self.after, self.fraction)

    def _nearer(self) -> torch.Tensor | None:
        return self.before if self.fraction < 0.5 else self.after


@runtime_checkable
class MotionTemplate(Protocol):
    """Driving motion that was read before: a session of its engine has `recall`, which gives it back.

    Attributes:
        engine: the name of that engine.
        info: rate and length, as of a clip.
    """

    engine: str
    info: ClipInfo


def reference_shot(shots: Iterable[TrackedChunk], number: int) -> TrackedChunk | None:
    """The first driving frame from `number` on that shows the face, as a shot of its own; reads no further.

    Returns:
        None if number is 0 and no frame shows the face.

    Raises:
        SettingsError: there is no such frame from a higher number on.
    """
    read = 0
    for shot in shots:
        for k, present in enumerate(shot.present.tolist(), start=read):
            if present and k >= number:
                here = slice(k - read, k - read + 1)
                return TrackedChunk(shot.frames[here], shot.landmarks[here], shot.present[here])
        read += len(shot)
    if number:
        raise SettingsError(
            f"reference_frame must be a driving frame that shows the face, or have one after it, got {number} of "
            f"{read} frames read"
        )
    return None


class Session(Protocol):
    """One run of an engine: what it remembers of the two clips.

    That of an engine with recordings also has `recall(recording, count)`, which stands for `survey` and `motions`.
    """

    def survey(self, shots: Iterable[TrackedChunk]) -> None:
        """Sees the driving clip once before the run, as far as it takes the shots; an engine may take none.

        Raises:
            SettingsError: a setting doesn't fit the clip.
        """

    def source(self, shots: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        """Passes the source clip's shots on, in order, perhaps with steadier landmarks and a little later."""

    def motions(self, shots: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """The motion of each driving frame, in order; None for a frame without the face."""

    def render(self, shot: TrackedChunk, cues: list[DrivingMotion]) -> torch.Tensor:
        """The output frames uint8 [N, H, W, 3] of a source shot; frames without a face come back as they are."""


class Engine(Protocol):
    """A way to animate. Holds what outlives a run: networks, device.

    Attributes:
        name: as `create_engine` knows it.
        device: a torch device string.
        render_threads: cores that `render` is to use beside decoding, tracking and encoding; None: as many as torch
            is set to.
    """

    name: str
    device: str
    render_threads: int | None

    def session(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ) -> Session:
        """Starts a run between clips of these frame rates; a still, which has an expression and no motion, has none."""


@dataclass(frozen=True)
class RunPlan:
    """What an engine that takes whole clips is to animate.

    Attributes:
        pairing: which source and driving frame each frame of the result shows.
        sound: of the result, None for none.
        audio_of: whose it is: "source", "driving" or None.
        chunk: frames at a time.
    """

    source: Clip
    driving: Clip
    settings: AnimationSettings
    options: MotionOptions
    pairing: Pairing
    sound: Audio | None
    audio_of: str | None
    chunk: int


@dataclass(frozen=True)
class HostedResult:
    """What an engine made of a take.

    Attributes:
        frames: chunks uint8 [N, H, W, 3] of the source's size, as many frames in all as the pairing says.
        notes: what had to be done about them, in words.
        job: about the job that made them, fit for JSON.
    """

    frames: Iterator[torch.Tensor]
    notes: tuple[str, ...]
    job: dict[str, Any]


class EngineStatus(Protocol):
    """How far a take is; `text` is one line."""

    text: str


@runtime_checkable
class HostedEngine(Protocol):
    """A way to animate that takes whole clips and gives back a whole clip.

    Attributes:
        name: as `create_engine` knows it.
    """

    name: str

    def clip(self, source: str | os.PathLike, cancelled: Callable[[], bool] | None = None) -> Clip:
        """The clip at a path, or at whatever else the engine can get one from."""

    def animate(
        self,
        take: RunPlan,
        *,
        on_state: Callable[[EngineStatus], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> HostedResult:
        """Animates the take. Raises errors.Cancelled soon after `cancelled` says True."""
