"""The contract of an engine: streaming engines take chunks of frames, hosted ones whole clips.

A streaming engine starts a session for each role of a run. The run decodes and tracks both clips, has the engine add
points of its own, asks the session for the driving motion, bridges short gaps in both tracks, and has the session
render the frames with both faces; every other frame stays as it is.
`tests/engine_conformance.py` is the suite that a new engine runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch

from ..errors import SettingsError
from ..expression import CHANNELS, COLUMNS
from ..faces import FaceSquare
from ..media import Clip, ClipInfo
from ..plan import MotionTemplate, RunPlan
from ..settings import AnimationSettings, MotionOptions
from ..tensors import TensorStruct
from ..tracking import TrackedChunk

ALL_OPTIONS = frozenset(item.name for item in fields(MotionOptions))
"""Names of all motion options, for an engine that supports every one."""


@dataclass(frozen=True)
class RenderedFrames:
    """Consecutive frames of a result.

    Attributes:
        frames: uint8 [N, H, W, 3]; to sinks [N, H, W, 4] where the source's alpha is kept.
        mask: float32 [N, H, W] in 0..1, opacity of what was pasted over the source; None unless asked for.
        squares: of each animated face, the square of each frame that was pasted, N; its side is 0 where nothing was.
            Six for a role that animates all faces; empty for hosted engines, which do not report it.
        crops: of each animated face, the engine's own pictures before they were pasted, float [M, 3, h, w] in 0..1: one
            for each frame with a square. Empty of engines that draw in the frame itself, and of a run that is not asked
            for them.
        covered: numbers of the frames, 0 to N - 1, in which something is before the mouth, which stays as it is.
        shut: numbers of those whose eyes stay shut, as the source has shown no open ones.
        check: waits until the frames are computed, and gives those to be shown in their place, if any, with their
            crops; None where nothing is left to be found out.
    """

    frames: torch.Tensor
    mask: torch.Tensor | None = None
    squares: tuple[FaceSquare, ...] = ()
    crops: tuple[torch.Tensor, ...] = ()
    covered: tuple[int, ...] = ()
    shut: tuple[int, ...] = ()
    check: Callable[[], RenderedFrames | None] | None = None

    def settled(self) -> RenderedFrames:
        """Return the frames as they are to be shown.

        An engine may hand out frames before their device has computed them, and find out later that they have to be
        computed another way. So whoever reads them, in whatever thread, reads the settled ones, once: this waits for
        the device, so that it belongs where the frames are waited for anyway, as for their copy to the host.
        """
        if self.check is None:
            return self
        again = self.check()
        if again is None:
            return replace(self, check=None)
        return replace(self, frames=again.frames, crops=again.crops if self.crops else (), check=None)

    def crops_by_frame(self) -> torch.Tensor:
        """Return the crops of all faces in the order of a `Placement`: frame by frame, and in each face by face."""
        shown = torch.stack([square.side.cpu() > 0 for square in self.squares], dim=1)
        numbers, first = torch.zeros(shown.shape, dtype=torch.int64), 0
        for face, own in enumerate(shown.unbind(1)):
            count = int(own.sum())
            numbers[own, face] = torch.arange(first, first + count)
            first += count
        pictures = torch.cat([part for part in self.crops if len(part)] or [NO_CROPS])
        return pictures[numbers[shown].to(pictures.device)]

    def __len__(self) -> int:
        return len(self.frames)


NO_CROPS = torch.zeros(0, 3, 1, 1)
"""The crops of a face in frames that don't show it."""


@dataclass(frozen=True)
class Edits(TensorStruct):
    """What an expression edits in N frames.

    Attributes:
        rows: float32 [N, K], on the CPU: `Expression.row` of each frame; all 0 where nothing is edited.
    """

    rows: torch.Tensor

    @property
    def changed(self) -> torch.Tensor:
        """Whether anything is edited, bool [N]."""
        return (self.rows != 0).any(1)

    def __call__(self, column: str) -> torch.Tensor:
        """Return one of the columns of `expression.COLUMNS`, float32 [N]."""
        return self.rows[:, self.place(column)]

    def gaze(self, axis: str) -> torch.Tensor:
        """Return the channels of gaze along an axis, "x" or "y", of the left and the right eye, float32 [N, 2]."""
        both = self(f"pupil_{axis}")
        own = [both + self(f"pupil_{axis}_{eye}") for eye in ("left", "right")]
        channel = CHANNELS[f"pupil_{axis}"]
        return torch.stack(own, dim=1).clamp(channel.low, channel.high)

    def any(self, *columns: str) -> bool:
        """Return whether one of these columns edits any frame."""
        return bool(self.rows[:, [self.place(column) for column in columns]].any())

    @staticmethod
    def place(column: str) -> int:
        """Return the place of a column."""
        return COLUMNS.index(column)


class Session(Protocol):
    """One role of one run: what an engine keeps of the two clips."""

    def survey(self, chunks: Iterable[TrackedChunk]) -> None:
        """Read the driving clip once before the run, as far as the engine needs it; it may take no chunk.

        Raises:
            SettingsError: a setting doesn't fit the clip.
        """

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        """Pass the source clip's chunks on, in order, with the landmarks that `render` needs; may lag behind.

        Keeps nothing in the session: with several faces it is called for each of them.
        """

    def motions(self, chunks: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """Yield the motion of each driving frame, in order; None for a frame without the face.

        A motion is any float tensor of one shape; the run interpolates between two of them linearly.
        """

    def render(
        self,
        chunk: TrackedChunk,
        driving: torch.Tensor | None,
        masks: bool = False,
        edits: Edits | None = None,
    ) -> RenderedFrames:
        """Animate source frames.

        Args:
            chunk: N consecutive source frames that all show the face; not modified.
            driving: the motion that leads each frame, [N, ...]; None in a role without a driving clip, whose face keeps
                its own motion.
            masks: give the mask as well.
            edits: of each frame, added to its motion; frames in which they are 0 are as without. None: of none, which
                is not given to an engine without channels.

        Returns:
            N frames, and the one square of each; to be `settled` before anyone reads them.
        """

    def for_another_face(self) -> Session:
        """Return a session that renders another of the source's faces by the same driving motions.

        It has none of its own: it is made behind the first of them, for that face's first frame.
        """


@runtime_checkable
class TemplateSession(Session, Protocol):
    """A session of an engine with motion templates."""

    def motions_of(self, template: MotionTemplate, count: int) -> Iterator[torch.Tensor | None]:
        """Yield the motion of a template's first frames: stands for `survey` and `motions`.

        Raises:
            SettingsError: a setting doesn't fit the template.
        """

    def record(self, chunks: Iterable[TrackedChunk], info: ClipInfo) -> MotionTemplate:
        """Return the template of a driving clip, or still, from its chunks; `survey` comes before.

        It leads a run as the clip does, whatever the run's smoothing and reference.
        """


class RecordedMotion:
    """What the motion templates of all engines are: so many frames at a rate.

    Attributes:
        present: bool [N], whether the frame shows the face.
        rate: frames per second, None for a driving still: a template of one frame is one.
    """

    present: torch.Tensor
    rate: Fraction | None

    def __post_init__(self) -> None:
        if len(self) == 1:
            object.__setattr__(self, "rate", None)

    def __len__(self) -> int:
        return len(self.present)

    def clip_info(self, width: int, height: int) -> ClipInfo:
        """Return facts as of a clip with frames of this size, or a still, without audio."""
        duration = None if self.rate is None else len(self) / self.rate
        return ClipInfo(width, height, self.rate, duration, len(self), self.rate is None, None)


class Engine(Protocol):
    """A way to animate, chunk by chunk. Holds what outlives a run: networks, device."""

    @property
    def name(self) -> str:
        """Name in `create_engine`."""

    @property
    def device(self) -> str:
        """A torch device string."""

    @property
    def supports(self) -> frozenset[str]:
        """Names of the motion options that the engine honours."""

    @property
    def channels(self) -> frozenset[str]:
        """Names of the channels of expressions that it edits."""

    @property
    def takes_boxes(self) -> bool:
        """Whether it animates faces that have no landmarks, only a box."""

    @property
    def feather(self) -> float:
        """Width of the ramp at the edges of what it pastes, in sides of the square, as in `compose.border_mask`."""

    @property
    def fixed(self) -> Mapping[str, object]:
        """Values of the parameters that it takes at one value alone, by name."""

    @property
    def render_threads(self) -> int | None:
        """Cores that `render` uses next to decoding, tracking and encoding; None: as many as torch is set to."""

    def add_points(self, chunk: TrackedChunk) -> TrackedChunk:
        """Append landmarks of the engine's own to those of the tracker, if it has any.

        Runs in the threads that track both clips, on the frames of each once; sessions get the chunks that it returns.
        """

    def session(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
        live: bool = False,
    ) -> Session:
        """Start a role of a run between clips of these frame rates; None for a still: expression, but no motion.

        `driving_rate` is also None without a driving clip; `render` is then given no motions. `live`: frames come one
        by one, and somebody waits for each.

        `reference_frame` is the number of a frame: the run has replaced `AUTO`.
        """


@dataclass(frozen=True)
class HostedResult:
    """The result of a hosted engine.

    Attributes:
        frames: chunks uint8 [N, H, W, 3] of the source's size, as many frames in all as the plan has.
        notes: what was done to make the engine's clip fit the plan, a sentence each.
        job: the job that made them, fit for JSON.
    """

    frames: Iterator[torch.Tensor]
    notes: tuple[str, ...]
    job: dict[str, Any]


class EngineStatus(Protocol):
    """Progress of a hosted job."""

    @property
    def text(self) -> str:
        """One line."""


@runtime_checkable
class HostedEngine(Protocol):
    """A way to animate that takes whole clips and returns a whole clip; one role a run."""

    @property
    def name(self) -> str:
        """Name in `create_engine`."""

    @property
    def supports(self) -> frozenset[str]:
        """Names of the motion options that the engine honours."""

    def clip(self, source: str | os.PathLike[str], cancelled: Callable[[], bool] | None = None) -> Clip:
        """Open the clip at a path, or at whatever else the engine can fetch one from."""

    def animate(
        self,
        plan: RunPlan,
        *,
        on_state: Callable[[EngineStatus], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> HostedResult:
        """Animate a plan.

        Raises:
            Cancelled: soon after `cancelled` returned True.
        """


def reference_chunk(chunks: Iterable[TrackedChunk], number: int) -> TrackedChunk | None:
    """Return the first driving frame from `number` on that shows the face, as a chunk of one; read no further.

    Returns:
        None if number is 0 and no frame shows the face.

    Raises:
        SettingsError: there is no such frame from a higher number on.
    """
    read = 0
    for chunk in chunks:
        for k, present in enumerate(chunk.present.tolist()):
            if present and read + k >= number:
                return chunk[k : k + 1]
        read += len(chunk)
    if number:
        raise SettingsError(
            f"reference_frame must be a driving frame that shows the face, or have one after it, got {number} of "
            f"{read} frames read"
        )
    return None
