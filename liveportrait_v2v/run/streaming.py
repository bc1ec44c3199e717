"""The run of a streaming engine: decode, track and render, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from typing import Any

from ..concurrency import Stopwatch, torch_thread
from ..engines.base import Engine, RenderedFrames, Session
from ..errors import Cancelled
from ..faces.given import FaceBoxes
from ..media import Clip
from ..plan import RunPlan, name_of
from ..tracking import TrackedChunk, TrackedClip, TrackMemory
from .driving import DrivingClip, DrivingReader
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
        crops: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        tracks: TrackMemory | None = None,
    ):
        self._plan = plan
        self._engine = engine
        self._clock = clock
        self._masks = masks
        self._crops = crops
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._memory = tracks
        self._stack = ExitStack()
        self._numbers = [role.source_faces for role in plan.roles]
        self._roles: list[RoleRun] = []
        self._source_faces = 0  # that were found

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
            TakenFace(clip, history.first, name)
            for name, role in self._named()
            for clip, history in role.histories
            if history.first is not None
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `Result`, so far; of several roles, each with the role's name."""
        return tuple(
            f"{name}: {note}" if name else note for name, role in self._named() for note in role.notes
        )

    def _named(self) -> list[tuple[str | None, RoleRun]]:
        """Return the roles with their names, None where there is only one."""
        several = len(self._roles) > 1
        return [
            (name_of(self._plan.roles, place) if several else None, role)
            for place, role in enumerate(self._roles)
        ]

    def frames(self) -> Iterator[RenderedFrames]:
        """Render the plan, chunk by chunk.

        Raises:
            MediaError: a clip can't be decoded.
            FaceNotFoundError: a chosen face is in no frame of its clip.
            Cancelled: the run was stopped during the survey of a driving clip.
        """
        readers = self._readers()
        self._roles = [
            RoleRun(role, pairing, self._engine, readers.get(place), self._clock)
            for place, (role, pairing) in enumerate(zip(self._plan.roles, self._plan.pairings, strict=True))
        ]
        renderer = self._renderer()
        for place, role in enumerate(self._roles):
            with self._plan.naming(place):
                role.begin(self._plan.source.info.rate, partial(self._surveyed, role), renderer)
        for place, role in enumerate(self._roles):
            with self._plan.naming(place):
                role.start()
        for chunks in self._source():
            yield self._rendered(chunks)
        for place, role in enumerate(self._roles):
            with self._plan.naming(place):
                role.check_faces(self._plan.source, self._source_faces)

    def progress(self, done: int, seconds: float) -> Progress:
        """Return the progress after this many frames and seconds."""
        without_face = max(self.frames_without_source_face, self.frames_without_driving_face)
        return Progress(done, self._plan.frame_count, "animating", done / seconds, without_face)

    def _renderer(self) -> Callable[[Session], Render]:
        """Return what gives a session's `render`, in one thread with as many cores as the engine wants."""
        if self._engine.render_threads is None:
            return lambda session: session.render
        thread = self._stack.enter_context(torch_thread(self._engine.render_threads))

        def of(session: Session) -> Render:
            def render(*given: Any) -> RenderedFrames:
                return thread.submit(session.render, *given).result()

            return render

        return of

    def _readers(self) -> dict[int, DrivingReader]:
        """Return what reads the driving clip of each role that has one, by the role's place.

        Roles that read the same frames of the same clip at the same pace share its passes.
        """
        sharing: dict[Any, list[int]] = {}
        for place, (role, pairing) in enumerate(zip(self._plan.roles, self._plan.pairings, strict=True)):
            if isinstance(role.driving, Clip):
                sharing.setdefault((role.driving, pairing, role.options.face_order), []).append(place)
        readers: dict[int, DrivingReader] = {}
        for (driving, _, order), places in sharing.items():
            numbers = [self._plan.roles[place].settings.drive_face_index for place in places]
            tracked = self._tracked(driving, numbers, order)
            clip = self._stack.enter_context(DrivingClip(tracked, len(places), self._clock))
            readers |= {place: DrivingReader(clip, k) for k, place in enumerate(places)}
        return readers

    def _surveyed(self, role: RoleRun) -> Iterator[TrackedChunk]:
        """Read a driving clip once for a survey, with progress and cancellation."""
        for chunk in role.survey_chunks():
            if self._cancelled is not None and self._cancelled():
                raise Cancelled("stopped while looking at the driving clip")
            if self._on_progress is not None:
                self._on_progress(Progress(0, self._plan.frame_count, "looking at the driving clip", 0.0, 0))
            yield chunk

    def _rendered(self, chunks: tuple[SourceChunk, ...]) -> RenderedFrames:
        """Render one chunk: each role draws over the frames that the one before left."""
        rendered, faces = RenderedFrames(chunks[0].tracked.frames), iter(chunks)
        for place, (role, numbers) in enumerate(zip(self._roles, self._numbers, strict=True)):
            with self._plan.naming(place):
                own = list(islice(faces, len(numbers)))
                rendered = role.rendered(rendered, own, self._masks, self._crops)
        return rendered

    def _source(self) -> Iterator[tuple[SourceChunk, ...]]:
        """Yield the source, for each animated face, as the result shows it: repeated, held or cut to its length."""
        left, pairing = self._plan.frame_count, self._plan.pairings[0]
        repeats = pairing.source_frames > 0 and pairing.repeats
        numbers = list(chain.from_iterable(self._numbers))
        order = self._plan.roles[0].options.face_order
        clip = self._stack.enter_context(self._tracked(self._plan.source, numbers, order))
        passes = self._stack.enter_context(Passes(clip.chunks, self._clock, "wait source"))
        chunks: tuple[SourceChunk, ...] = ()
        while left:
            again = repeats and left > pairing.source_frames
            columns = iter(fan_out(passes.begin(left, again), len(numbers)))
            streams: list[Iterator[SourceChunk]] = []
            for role, own in zip(self._roles, self._numbers, strict=True):
                streams += role.source(list(islice(columns, len(own))))
            for chunks in zip(*streams, strict=True):
                yield chunks
                left -= len(chunks[0])
            if not repeats:
                break
        while left:
            count = min(self._plan.chunk, left)
            yield tuple(chunk.hold(count) for chunk in chunks)
            left -= count
        self._source_faces = clip.faces

    def _tracked(self, clip: Clip, numbers: Sequence[int | FaceBoxes], order: str) -> TrackedClip:
        """Return a clip with the tracks of these faces."""
        return TrackedClip(
            clip,
            numbers,
            device=self._engine.device,
            order=order,
            chunk=self._plan.chunk,
            add_points=self._engine.add_points,
            clock=self._clock,
            memory=self._memory,
            points=self._engine.name,
        )
