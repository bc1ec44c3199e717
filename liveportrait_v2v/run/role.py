"""One role of a streaming run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count, islice

import torch

from ..concurrency import Stopwatch
from ..engines.base import Engine, RenderedFrames, Session, TemplateSession
from ..errors import FaceNotFoundError, SettingsError
from ..faces.history import FaceHistory
from ..faces.smoothing import Continuity
from ..media import Clip
from ..plan import MotionTemplate, Pairing, Role
from ..tracking import TrackedChunk, TrackedClip
from .gaps import Shown, Sighting, SourceChunk, bridge_and_fade, mend_source
from .passes import Passes
from .splice import DrivingMotion, Render, splice


class RoleRun:
    """The session of a role, its driving side, and the frames without a face; leaving the block ends its thread.

    Attributes:
        lost_source, lost_driving: frames so far without the source's or the driving face, bridged ones included.
        source_face, driving_face: what was seen so far of the faces that the role takes.
    """

    def __init__(
        self,
        role: Role,
        pairing: Pairing,
        engine: Engine,
        session: Session,
        render: Render,
        clock: Stopwatch,
        chunk: int,
    ):
        """Take what the role shares with its run; `render` is the session's, in whatever thread it is to run."""
        self._role = role
        self._pairing = pairing
        self._engine = engine
        self._session = session
        self._render = render
        self._clock = clock
        self._chunk = chunk
        self._clip = self._tracked_clip()
        self._passes = Passes(self._track, clock, "wait driving")
        self._stack = ExitStack()
        self._again = pairing.driving_at(pairing.frames - 1)[0] > 0  # the driving clip is read more than once
        self._driving: Iterator[DrivingMotion] = iter(())
        self.lost_source = self.lost_driving = 0
        self.source_face = FaceHistory(role.settings.input_face_index)
        self.driving_face = FaceHistory(role.settings.drive_face_index)

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

    def survey(self, chunks: Iterable[TrackedChunk]) -> None:
        """Show the session the driving clip, as far as it takes it; a template has no pictures."""
        if not isinstance(self._role.driving, MotionTemplate):
            self._session.survey(chunks)

    def start(self) -> None:
        """Start tracking the driving clip, from its beginning."""
        self._driving = self._moments(self._motions())

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[SourceChunk]:
        """Pass the source's chunks through the session, with the gaps in its track mended."""
        watched = _watched(chunks, self.source_face)
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

            def watched() -> Iterator[TrackedChunk]:
                for chunk in chunks:
                    for k, present in enumerate(chunk.present.tolist()):
                        continues.append(present and not continuity.begins(chunk, k))
                    yield chunk

            return ((motion, continues.popleft()) for motion in self._session.motions(watched()))
        if not isinstance(self._session, TemplateSession):
            raise SettingsError(
                f"the {self._engine.name} engine takes no motion templates; give the driving clip"
            )
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
        yield from _watched((tracked for (tracked,) in self._clip.chunks(cap, keep)), self.driving_face)


def _watched(chunks: Iterable[TrackedChunk], history: FaceHistory) -> Iterator[TrackedChunk]:
    for chunk in chunks:
        history.add(chunk.index, chunk.landmarks, chunk.present, chunk.scenes)
        yield chunk
