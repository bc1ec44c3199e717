"""One role of a streaming run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import count, islice

import torch

from ..concurrency import Stopwatch
from ..engines.base import Engine, RenderedFrames, Session, TemplateSession
from ..errors import FaceNotFoundError, SettingsError
from ..faces.history import FaceHistory
from ..faces.smoothing import Continuity
from ..media import Clip
from ..neutral import FAR_FROM_NEUTRAL, deviations, measures
from ..plan import MotionTemplate, Pairing, Role
from ..settings import AUTO
from ..tracking import TrackedChunk, TrackedClip
from .gaps import Shown, Sighting, SourceChunk, bridge_and_fade, mend_source
from .passes import Passes
from .splice import DrivingMotion, Render, splice


class RoleRun:
    """The session of a role, its driving side, and the frames without a face; leaving the block ends its thread.

    Attributes:
        lost_source, lost_driving: frames so far without the source's or the driving face, bridged ones included.
        histories: of the faces that the role takes, with the clip of each, "source" or "driving".
    """

    _session: Session
    _render: Render

    def __init__(self, role: Role, pairing: Pairing, engine: Engine, clock: Stopwatch, chunk: int):
        """Take what the role shares with its run."""
        self._role = role
        self._pairing = pairing
        self._engine = engine
        self._clock = clock
        self._chunk = chunk
        self._clip = self._tracked_clip()
        self._passes = Passes(self._track, clock, "wait driving")
        self._stack = ExitStack()
        self._again = pairing.driving_at(pairing.frames - 1)[0] > 0  # the driving clip is read more than once
        self._driving: Iterator[DrivingMotion] = iter(())
        self._measures: list[torch.Tensor] = []
        """Of the driving frames that were read so far, as `neutral.measures` has it."""
        self.lost_source = self.lost_driving = 0
        self._source_face = FaceHistory(role.settings.input_face_index)
        self._driving_face = FaceHistory(role.settings.drive_face_index)
        self.histories = ("source", self._source_face), ("driving", self._driving_face)

    def __enter__(self) -> RoleRun:
        if self._clip is not None:
            self._stack.enter_context(self._clip)
        self._stack.enter_context(self._passes)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def driving_chunks(self) -> Iterator[TrackedChunk]:
        """Start one pass through the driving clip, before the run."""
        return self._passes.begin(self._pairing.driving_frames, keep=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `Result`; complete after the last frame."""
        reference = self._reference_note()
        notes = [note for clip, history in self.histories for note in history.notes(clip)]
        return tuple(notes if reference is None else [reference, *notes])

    def begin(
        self,
        source_rate: Fraction | None,
        chunks: Callable[[], Iterator[TrackedChunk]],
        renderer: Callable[[Session], Render],
    ) -> None:
        """Start the session, and show it the driving clip as far as it takes it; a template has no pictures.

        Args:
            source_rate: frames per second, None for a still.
            chunks: starts a pass through the driving clip.
            renderer: returns a session's `render`, in whatever thread it is to run.
        """
        driving = self._role.driving
        options = self._role.options
        if options.reference_frame == AUTO:
            options = replace(options, reference_frame=self._most_neutral(chunks))
        self._session = self._engine.session(self._role.settings, options, source_rate, driving.info.rate)
        self._render = renderer(self._session)
        if not isinstance(driving, MotionTemplate):
            self._session.survey(chunks())

    def _most_neutral(self, chunks: Callable[[], Iterator[TrackedChunk]]) -> int:
        """Return the number of the most neutral driving frame among those that are read; 0 if none shows a face."""
        if isinstance(self._role.driving, MotionTemplate):
            self._measure_template(self._role.driving)
        else:
            for chunk in chunks():
                self._measures.append(measures(chunk.landmarks, chunk.present))
        return int(deviations(torch.cat(self._measures)).argmin())

    def _measure_template(self, template: MotionTemplate) -> None:
        self._measures = [template.measures()[: self._pairing.driving_frames]]

    def _reference_note(self) -> str | None:
        """Return the reference frame that was found, or a better one than the first; None where it does not matter."""
        if self._role.driving.info.is_still or not self._measures:
            return None
        away = deviations(torch.cat(self._measures))
        if not away.isfinite().any():
            return None
        best = int(away.argmin())
        if self._role.options.reference_frame == AUTO:
            return f"reference_frame auto: took driving frame {best}, the most neutral of {len(away)}"
        first = away[away.isfinite()][0]
        chosen = self._role.options.reference_frame > 0 or not self._role.settings.relative
        if chosen or first < FAR_FROM_NEUTRAL or away[best] > first / 2:
            return None
        return (
            "the driving clip's first face is far from neutral, and relative motion starts from it; "
            f"reference_frame auto would take frame {best}"
        )

    def start(self) -> None:
        """Start tracking the driving clip, from its beginning."""
        self._driving = self._moments(self._motions())

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[SourceChunk]:
        """Pass the source's chunks through the session, with the gaps in its track mended."""
        watched = _watched(chunks, self._source_face)
        return mend_source(watched, self._session.source, self._pairing.rate)

    def rendered(self, chunk: SourceChunk, frames: torch.Tensor, masks: bool) -> RenderedFrames:
        """Render the next frames of the result over `frames`, which roles before may have drawn over."""
        driving = list(islice(self._driving, len(chunk)))
        with self._clock("render"):
            tracked = replace(chunk.tracked, frames=frames)
            rendered = splice(self._render, tracked, driving, masks, chunk.opacity)
        self.lost_source += len(chunk) - int(chunk.seen.sum())
        self.lost_driving += sum(moment.missing for moment in driving)
        return rendered

    def check_faces(self) -> None:
        """Check, after the last frame, that both faces were found at all.

        Raises:
            FaceNotFoundError: one was in no frame.
        """
        settings, frames = self._role.settings, self._pairing.frames
        for lost, clip, parameter in (
            (self.lost_source, "source", "input_face_index"),
            (self.lost_driving, "driving", "drive_face_index"),
        ):
            if lost == frames:
                raise FaceNotFoundError(
                    f"face {getattr(settings, parameter)} was found nowhere in the frames read of the {clip} clip; "
                    f"faces are numbered from 0 in the first frame that shows any: look at them with the node Preview "
                    f"Faces or the command `liveportrait-v2v faces`, then set {parameter}"
                )

    def _moments(self, motions: Iterator[Shown]) -> Iterator[DrivingMotion]:
        """Yield the driving motion of each output frame, indefinitely."""
        current, at, after = 0, -1, next(motions)
        for frame in count():
            lap, place = self._pairing.driving_at(frame)
            if lap != current:
                motions = self._motions()
                current, at, after = lap, -1, next(motions)
            while at < int(place):
                at, before = at + 1, after
                after = next(motions, before)
            yield DrivingMotion.between(before, after, float(place - at))

    def _motions(self) -> Iterator[Shown]:
        """Start one pass through the driving motion, with its gaps mended."""
        # Of driving frames as the result shows them.
        rate = self._pairing.rate * self._pairing.driving_step
        return bridge_and_fade(self._sightings(), rate)

    def _sightings(self) -> Iterator[Sighting]:
        """Start one pass through the driving motion as it was read."""
        driving, frames = self._role.driving, self._pairing.driving_frames
        if isinstance(driving, Clip):
            continues: deque[bool] = deque()  # of frames on their way through the session
            continuity = Continuity()
            chunks = self._passes.begin(frames, self._again)
            unmeasured = not self._measures

            def watched() -> Iterator[TrackedChunk]:
                for chunk in chunks:
                    if unmeasured:
                        self._measures.append(measures(chunk.landmarks, chunk.present))
                    for k, present in enumerate(chunk.present.tolist()):
                        continues.append(present and not continuity.begins(chunk, k))
                    yield chunk

            return ((motion, continues.popleft()) for motion in self._session.motions(watched()))
        if not isinstance(self._session, TemplateSession):
            raise SettingsError(
                f"the {self._engine.name} engine takes no motion templates; give the driving clip"
            )
        self._measure_template(driving)
        return zip(self._session.motions_of(driving, frames), (~driving.begins).tolist(), strict=False)

    def _tracked_clip(self) -> TrackedClip | None:
        """Return the driving clip with its face; None for a template."""
        if isinstance(self._role.driving, MotionTemplate):
            return None
        return TrackedClip(
            self._role.driving,
            (self._role.settings.drive_face_index,),
            device=self._engine.device,
            order=self._role.options.face_order,
            chunk=self._chunk,
            add_points=self._engine.add_points,
            clock=self._clock,
        )

    def _track(self, cap: int, keep: bool) -> Iterator[TrackedChunk]:
        assert self._clip is not None
        yield from _watched((tracked for (tracked,) in self._clip.chunks(cap, keep)), self._driving_face)


def _watched(chunks: Iterable[TrackedChunk], history: FaceHistory) -> Iterator[TrackedChunk]:
    for chunk in chunks:
        history.add(chunk.index, chunk.landmarks, chunk.present, chunk.scenes)
        yield chunk
