"""One role of a streaming run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count, islice, repeat
from typing import Any

import torch

from ..concurrency import Stopwatch
from ..engines.base import Engine, RenderedFrames, Session, TemplateSession
from ..errors import FaceNotFoundError, SettingsError
from ..faces.history import FaceHistory
from ..faces.smoothing import Continuity
from ..media import Clip
from ..plan import ALL, MotionTemplate, Pairing, Role
from ..settings import AUTO
from ..tracking import TrackedChunk
from .driving import DrivingReader
from .gaps import Shown, Sighting, SourceChunk, bridge_and_fade, mend_source
from .missing import missing_face
from .neighbours import without_others
from .reference import ReferenceSearch
from .splice import DrivingMotion, Render, splice


class RoleRun:
    """The session of a role, its driving side, and the frames without a face.

    Attributes:
        lost_source: frames so far without any of the source's faces, bridged ones included.
        lost_driving: frames so far without the driving face, bridged ones included.
        histories: of the faces that the role takes, with the clip of each, "source" or "driving".
    """

    _session: Session
    _renders: list[Render]

    def __init__(
        self,
        role: Role,
        pairing: Pairing,
        engine: Engine,
        reader: DrivingReader | None,
        clock: Stopwatch,
    ):
        """Take what the role shares with its run; `reader` reads the driving clip, None without one."""
        self._role = role
        self._pairing = pairing
        self._engine = engine
        self._reader = reader
        self._clock = clock
        self._again = pairing.driving_at(pairing.frames - 1)[0] > 0  # the driving clip is read more than once
        self._driving: Iterator[DrivingMotion] = iter(())
        self._reference = ReferenceSearch(role, pairing.led_frames)
        self._source_faces = [
            FaceHistory(face if isinstance(face, int) else None) for face in role.source_faces
        ]
        self._driving_face = FaceHistory(role.settings.drive_face_index)
        self.histories = [("source", face) for face in self._source_faces]
        if role.driving is not None:
            self.histories.append(("driving", self._driving_face))
        self.lost_source = self.lost_driving = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `Result`; complete after the last frame."""
        reference = self._reference.note()
        notes = [note for clip, history in self.histories for note in history.notes(clip)]
        return tuple(notes if reference is None else [reference, *notes])

    def survey_chunks(self) -> Iterator[TrackedChunk]:
        """Start one pass through the driving clip, before the run; a template has no pictures."""
        if self._reader is None:
            return iter(())
        beyond = self._role.options.reference_frame >= self._pairing.led_frames
        return self._watched(
            self._reader.survey(self._pairing.driving_frames if beyond else self._pairing.led_frames)
        )

    def begin(
        self,
        source_rate: Fraction | None,
        chunks: Callable[[], Iterable[TrackedChunk]],
        renderer: Callable[[Session], Render],
    ) -> None:
        """Start the session, and show it the driving clip as far as it takes it.

        Args:
            source_rate: frames per second, None for a still.
            chunks: starts a pass of `survey_chunks`.
            renderer: returns a session's `render`, in whatever thread it is to run.
        """
        role, options = self._role, self._role.options
        if options.reference_frame == AUTO and role.driving is not None:
            deque(chunks(), maxlen=0)
            options = replace(options, reference_frame=self._reference.most_neutral())
        self._session = self._engine.session(role.settings, options, source_rate, role.driving_rate)
        if role.source_face == ALL:
            self._renders = [self._of_another_face(renderer) for _ in role.source_faces]
        else:
            self._renders = [renderer(self._session)]
        if self._reader is not None:
            self._session.survey(chunks())

    def start(self) -> None:
        """Start reading the driving motion, from its beginning."""
        if self._role.driving is None:
            self._driving = repeat(DrivingMotion(None, None, 0.0, driven=False))
        else:
            self._driving = self._moments(self._motions())
        if self._role.expression is not None:
            self._driving = map(self._edited, count(), self._driving)

    def source(self, columns: Sequence[Iterator[TrackedChunk]]) -> list[Iterator[SourceChunk]]:
        """Pass the source's chunks, of each face, through the session, with the gaps in its track mended."""
        return [
            mend_source(_watched_by(history, column), self._session.source, self._pairing.rate)
            for history, column in zip(self._source_faces, columns, strict=True)
        ]

    def rendered(
        self, before: RenderedFrames, chunks: Sequence[SourceChunk], masks: bool, crops: bool
    ) -> RenderedFrames:
        """Render the next frames of the result, over those that the role before left.

        Args:
            chunks: of each face, with its track.
            masks, crops: as in `run_plan`.
        """
        driving = list(islice(self._driving, len(before)))
        for render, chunk, history in zip(self._renders, chunks, self._source_faces, strict=True):
            before = before.settled()
            with self._clock("render"):
                tracked = replace(chunk.tracked, frames=before.frames)
                drawn = splice(render, tracked, driving, masks, chunk.opacity)
                history.add_covered(tracked.number_of(k) for k in drawn.covered)
                history.add_shut(tracked.number_of(k) for k in drawn.shut)
                drawn = drawn.settled() if crops else replace(drawn, crops=())
                before = _over(before, without_others(before.frames, drawn, tracked))
        seen = torch.stack([chunk.seen for chunk in chunks]).any(0)
        self.lost_source += len(before) - int(seen.sum())
        self.lost_driving += sum(moment.missing for moment in driving)
        return before

    def check_faces(self, source: Clip, source_faces: int) -> None:
        """Check, after the last frame, that both faces were found at all.

        Args:
            source: the source clip.
            source_faces: number of faces that were found in it.

        Raises:
            FaceNotFoundError: one was in no frame.
        """
        role, pairing, driving = self._role, self._pairing, self._role.driving
        if self.lost_source == pairing.frames and role.boxes is not None:
            raise FaceNotFoundError(
                f"the boxes show no face in the {pairing.frames} frames of the result; give boxes of these frames"
            )
        if self.lost_source == pairing.frames:
            number, parameter = role.settings.input_face_index, "input_face_index"
            if role.source_face is not None:
                number, parameter = 0 if role.source_face == ALL else role.source_face, "source_face"
            total = source.info.frame_count
            read = min(pairing.frames, total)
            raise missing_face("source", number, parameter, faces=source_faces, read=read, total=total)
        if driving is not None and self.lost_driving == pairing.frames:
            raise missing_face(
                "driving",
                role.settings.drive_face_index,
                "drive_face_index" if role.drive_face is None else "drive_face",
                faces=0 if self._reader is None else self._reader.faces,
                read=pairing.led_frames or 1,
                total=driving.info.frame_count,
                cap=role.settings.video_frame_load_cap,
            )

    def _of_another_face(self, renderer: Callable[[Session], Render]) -> Render:
        """Return the `render` of one of several faces, in a session that begins with the first frame of that face."""
        own: Render | None = None

        def render(*given: Any) -> RenderedFrames:
            nonlocal own
            if own is None:
                own = renderer(self._session.for_another_face())
            return own(*given)

        return render

    def _edited(self, frame: int, moment: DrivingMotion) -> DrivingMotion:
        """Return the moment of an output frame with what the expression adds."""
        assert self._role.expression is not None  # who calls this has looked
        row = self._role.expression.row(float(frame / self._pairing.rate))
        # Without a driving clip, a frame that is not edited is passed on.
        return replace(moment, edit=torch.tensor(row)) if moment.driven or any(row) else moment

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
        driving, frames = self._role.driving, self._pairing.led_frames
        if self._reader is not None:
            continues: deque[bool] = deque()  # of frames on their way through the session
            continuity = Continuity()
            chunks = self._watched(self._reader.begin(frames, self._again))

            def followed() -> Iterator[TrackedChunk]:
                for chunk in chunks:
                    for k, present in enumerate(chunk.present.tolist()):
                        continues.append(present and not continuity.begins(chunk, k))
                    yield chunk

            return ((motion, continues.popleft()) for motion in self._session.motions(followed()))
        assert isinstance(driving, MotionTemplate)  # a clip has a reader
        if not isinstance(self._session, TemplateSession):
            raise SettingsError(
                f"the {self._engine.name} engine takes no motion templates; give the driving clip"
            )
        motions = self._session.motions_of(driving, frames or driving.info.frame_count)
        return zip(motions, (~driving.begins).tolist(), strict=False)

    def _watched(self, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        """Pass chunks of the driving clip on, and take note of its face."""
        for chunk in _watched_by(self._driving_face, chunks):
            self._reference.add(chunk)
            yield chunk


def _watched_by(history: FaceHistory, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
    for chunk in chunks:
        history.add(chunk.index, chunk.landmarks, chunk.present, chunk.scenes)
        yield chunk


def _over(before: RenderedFrames, drawn: RenderedFrames) -> RenderedFrames:
    """Return frames that were drawn over others, with the masks, squares and crops of both."""
    mask = drawn.mask
    if mask is not None and before.mask is not None:
        mask = 1 - (1 - mask) * (1 - before.mask)
    squares, crops = before.squares + drawn.squares, before.crops + drawn.crops
    return RenderedFrames(drawn.frames, mask, squares, crops, check=drawn.check)
