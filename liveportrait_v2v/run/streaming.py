"""The run of a streaming engine: decode, track and render, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from ..concurrency import Stopwatch, torch_thread
from ..engines.base import Engine, RenderedFrames, Session
from ..errors import Cancelled
from ..plan import RunPlan
from ..tracking import TrackedChunk, TrackedClip
from .gaps import SourceChunk
from .passes import Passes, fan_out
from .result import Progress, TakenFace
from .role import RoleRun
from .splice import Render


class StreamingRun:
    """A run of a streaming engine; leaving the block ends its threads.

    Attributes:
        job: as in `Result`; always empty here.
    """

    job: dict[str, Any] | None = None

    def __init__(
        self,
        plan: RunPlan,
        engine: Engine,
        clock: Stopwatch,
        *,
        masks: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ):
        self._plan = plan
        self._engine = engine
        self._clock = clock
        self._masks = masks
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._stack = ExitStack()
        self._roles: list[RoleRun] = []

    def __enter__(self) -> StreamingRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def frames_without_source_face(self) -> int:
        """Frames so far without the source's face, summed over the roles."""
        return sum(role.lost_source for role in self._roles)

    @property
    def frames_without_driving_face(self) -> int:
        """Frames so far without the driving face, summed over the roles."""
        return sum(role.lost_driving for role in self._roles)

    @property
    def faces(self) -> tuple[TakenFace, ...]:
        """The faces that the roles took so far."""
        return tuple(
            TakenFace(clip, history.first)
            for role in self._roles
            for clip, history in role.histories
            if history.first is not None
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `Result`, so far, of all roles, each sentence once."""
        return tuple(dict.fromkeys(note for role in self._roles for note in role.notes))

    def frames(self) -> Iterator[RenderedFrames]:
        """Render the plan, chunk by chunk.

        Raises:
            MediaError: a clip can't be decoded.
            FaceNotFoundError: a chosen face is in no frame of its clip.
            Cancelled: the run was stopped during the survey of a driving clip.
        """
        self._roles = [
            self._stack.enter_context(RoleRun(role, pairing, self._engine, self._clock, self._plan.chunk))
            for role, pairing in zip(self._plan.roles, self._plan.pairings, strict=True)
        ]
        for role in self._roles:
            role.begin(self._plan.source.info.rate, partial(self._watched, role), self._renderer)
        for role in self._roles:
            role.start()
        for chunks in self._source():
            yield self._rendered(chunks)
        for role in self._roles:
            role.check_faces()

    def progress(self, done: int, seconds: float) -> Progress:
        """Return the progress after this many frames and seconds."""
        without_face = max(self.frames_without_source_face, self.frames_without_driving_face)
        return Progress(done, self._plan.frame_count, "animating", done / seconds, without_face)

    def _renderer(self, session: Session) -> Render:
        """Return the session's `render`, in a thread with as many cores as the engine wants."""
        if self._engine.render_threads is None:
            return session.render
        thread = self._stack.enter_context(torch_thread(self._engine.render_threads))

        def render(chunk: TrackedChunk, driving: torch.Tensor, masks: bool) -> RenderedFrames:
            return thread.submit(session.render, chunk, driving, masks).result()

        return render

    def _watched(self, role: RoleRun) -> Iterator[TrackedChunk]:
        """Read a driving clip once for a survey, with progress and cancellation."""
        for chunk in role.driving_chunks():
            if self._cancelled is not None and self._cancelled():
                raise Cancelled("stopped while looking at the driving clip")
            if self._on_progress is not None:
                self._on_progress(Progress(0, self._plan.frame_count, "looking at the driving clip", 0.0, 0))
            yield chunk

    def _rendered(self, chunks: tuple[SourceChunk, ...]) -> RenderedFrames:
        """Render one chunk: each role draws over the frames that the one before left."""
        rendered = RenderedFrames(chunks[0].tracked.frames)
        for role, chunk in zip(self._roles, chunks, strict=True):
            before = rendered.settled()
            drawn = role.rendered(chunk, before.frames, self._masks)
            mask = drawn.mask
            if mask is not None and before.mask is not None:
                mask = 1 - (1 - mask) * (1 - before.mask)
            rendered = RenderedFrames(drawn.frames, mask, before.squares + drawn.squares, drawn.check)
        return rendered

    def _source(self) -> Iterator[tuple[SourceChunk, ...]]:
        """Yield the source, for each role, as the result shows it: repeated, held or cut to the result's length."""
        left, pairing = self._plan.frame_count, self._plan.pairings[0]
        repeats = pairing.source_frames > 0 and pairing.repeats
        clip = self._stack.enter_context(self._clip())
        passes = self._stack.enter_context(Passes(clip.chunks, self._clock, "wait source"))
        chunks: tuple[SourceChunk, ...] = ()
        while left:
            again = repeats and left > pairing.source_frames
            columns = fan_out(passes.begin(left, again), len(self._roles))
            streams = [role.source(column) for role, column in zip(self._roles, columns, strict=True)]
            for chunks in zip(*streams, strict=True):
                yield chunks
                left -= len(chunks[0])
            if not repeats:
                break
        while left:
            count = min(self._plan.chunk, left)
            yield tuple(chunk.hold(count) for chunk in chunks)
            left -= count

    def _clip(self) -> TrackedClip:
        """Return the source clip with each role's face."""
        return TrackedClip(
            self._plan.source,
            [role.settings.input_face_index for role in self._plan.roles],
            device=self._engine.device,
            order=self._plan.roles[0].options.face_order,
            chunk=self._plan.chunk,
            add_points=self._engine.add_points,
            clock=self._clock,
        )
