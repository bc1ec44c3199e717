"""What an engine is, and what passes through it: chunks of frames, or whole clips."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch

from ..media import Audio, Clip
from ..pairing import Pairing
from ..settings import AnimationSettings, MotionOptions


@dataclass(frozen=True)
class Shot:
    """A chunk of a clip with the track of the one face that was chosen.

    Attributes:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels; zeros where the face is not present.
        present: bool [N].
    """

    frames: torch.Tensor
    landmarks: torch.Tensor
    present: torch.Tensor

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Cue:
    """What the driving clip says at the moment of one output frame.

    `before` and `after` are the motions of the driving frames on both sides of that moment, `fraction` (0..1) says
    how far between them it lies. A motion is whatever the engine's `motions` made of a frame, None without a face.
    """

    before: Any
    after: Any
    fraction: float


class Session(Protocol):
    """One run of an engine: what it remembers of the two clips."""

    def source(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        """Passes the source clip's shots on, in order, perhaps with steadier landmarks and a little later."""

    def motions(self, shots: Iterable[Shot]) -> Iterator[Any]:
        """The motion of each driving frame, in order; None for a frame without the face."""

    def render(self, shot: Shot, cues: list[Cue]) -> torch.Tensor:
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
class Take:
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
class Rendered:
    """What an engine made of a take.

    Attributes:
        frames: chunks uint8 [N, H, W, 3] of the source's size, as many frames in all as the pairing says.
        notes: what had to be done about them, in words.
        job: about the job that made them, fit for JSON.
    """

    frames: Iterator[torch.Tensor]
    notes: tuple[str, ...]
    job: dict[str, Any]


class Whereabouts(Protocol):
    """How far a take is; `text` is one line."""

    text: str


@runtime_checkable
class ClipEngine(Protocol):
    """A way to animate that takes whole clips and gives back a whole clip.

    Attributes:
        name: as `create_engine` knows it.
    """

    name: str

    def clip(self, source: str | os.PathLike, cancelled: Callable[[], bool] | None = None) -> Clip:
        """The clip at a path, or at whatever else the engine can get one from."""

    def animate(
        self,
        take: Take,
        *,
        on_state: Callable[[Whereabouts], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Rendered:
        """Animates the take. Raises errors.Cancelled soon after `cancelled` says True."""
