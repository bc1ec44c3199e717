"""A run of an engine that takes frames as they come: decode, track, render, a chunk at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

from ..concurrency import Ahead, OwnStream, Stopwatch, torch_thread
from ..engines.base import DrivingMotion, Engine, MotionTemplate, RunPlan, Session, TrackedChunk
from ..errors import Cancelled, FaceNotFoundError, SettingsError
from ..faces import FaceTracker
from ..media import Clip
from .result import Progress


class StreamingRun:
    """One run.

    Attributes:
        lost_source, lost_driving: frames so far that show the source as it is, for want of the source's or the
            driving face.
        notes, job: as a `Result` has them; there is nothing to tell here.
    """

    notes: tuple[str, ...] = ()
    job: dict[str, Any] | None = None

    def __init__(
        self,
        engine: Engine,
        on_progress: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool] | None,
    ):
        self._engine = engine
        self._on_progress = on_progress
        self._cancelled = cancelled
        self.lost_source = self.lost_driving = 0

    def clips(
        self, source: Clip | str | os.PathLike, driving: Clip | MotionTemplate | str | os.PathLike
    ) -> tuple[Clip, Clip | MotionTemplate]:
        """
        Raises:
            MediaError: a file can't be opened.
            SettingsError: the recording is another engine's.
        """
        source = source if isinstance(source, Clip) else Clip(source)
        if isinstance(driving, MotionTemplate):
            if driving.engine != self._engine.name:
                raise SettingsError(
                    f"a recording's engine must be the run's, {driving.engine}, got the {self._engine.name} engine"
                )
        elif not isinstance(driving, Clip):
            driving = Clip(driving)
        return source, driving

    def frames(self, take: RunPlan, clock: Stopwatch, stack: ExitStack) -> Iterator[torch.Tensor]:
        """The result in chunks, uint8 [N, H, W, 3].

        Args:
            stack: ends what works ahead.

        Raises:
            MediaError: a clip can't be decoded.
            FaceNotFoundError: a chosen face is in no frame of its clip.
            Cancelled: the run was stopped while an engine looked at the driving clip.
        """
        rates = take.source.info.rate, take.driving.info.rate
        session = self._engine.session(take.settings, take.options, *rates)
        render = self._renderer(session, stack)
        sides = _Sides(take, session, self._engine.device, clock, stack)
        self._survey(sides)
        cues = sides.cues()
        for shot in sides.source_shots():
            here = [next(cues) for _ in range(len(shot))]
            with clock("render"):
                frames = render(shot, here)
            self.lost_source += len(shot) - int(shot.present.sum())
            self.lost_driving += sum(cue.missing for cue in here)
            yield frames
        total, settings = take.pairing.frames, take.settings
        _check_faces(total, self.lost_source, "source", "input_face_index", settings.input_face_index)
        _check_faces(total, self.lost_driving, "driving", "drive_face_index", settings.drive_face_index)

    def progress(self, done: int, total: int, seconds: float) -> Progress:
        """Where the run is after so many frames and seconds."""
        without_face = max(self.lost_source, self.lost_driving)
        return Progress(done, total, "animating", done / seconds, without_face)

    def _renderer(
        self, session: Session, stack: ExitStack
    ) -> Callable[[TrackedChunk, list[DrivingMotion]], torch.Tensor]:
        """The session's `render`, on as many cores as the engine wants."""
        if self._engine.render_threads is None:
            return session.render
        thread = stack.enter_context(torch_thread(self._engine.render_threads))
        return lambda shot, cues: thread.submit(session.render, shot, cues).result()

    def _survey(self, sides: _Sides) -> None:
        """Shows the session the driving clip, as far as it asks for it; a recording has nothing to see."""
        if isinstance(sides.take.driving, MotionTemplate):
            return

        def shots() -> Iterator[TrackedChunk]:
            for shot in sides.driving_shots():
                if self._cancelled is not None and self._cancelled():
                    raise Cancelled("stopped while looking at the driving clip")
                if self._on_progress is not None:
                    total = sides.take.pairing.frames
                    self._on_progress(Progress(0, total, "looking at the driving clip", 0.0, 0))
                yield shot

        sides.session.survey(shots())


@dataclass
class _Sides:
    """The source's and the driving side of a run, and what they share."""

    take: RunPlan
    session: Session
    device: str
    clock: Stopwatch
    stack: ExitStack

    def source_shots(self) -> Iterator[TrackedChunk]:
        """The source as the result shows it: repeated, held or cut to the result's length."""
        take, left = self.take, self.take.pairing.frames
        while left:
            for shot in self.session.source(self._track(take.source, take.settings.input_face_index, left)):
                yield shot
                left -= len(shot)
            if not (take.pairing.source_frames and take.pairing.repeats):
                break
        while left:
            n = min(take.chunk, left)
            yield shot.hold(n)
            left -= n

    def driving_shots(self) -> Iterator[TrackedChunk]:
        """One pass through the driving clip."""
        take = self.take
        return self._track(take.driving, take.settings.drive_face_index, take.pairing.driving_frames)

    def cues(self) -> Iterator[DrivingMotion]:
        """What leads each frame of the result, without end. The driving clip is tracked from now on."""
        return self._cues(self._motions())

    def _cues(self, motions: Iterator[torch.Tensor | None]) -> Iterator[DrivingMotion]:
        current, at, after = 0, -1, next(motions)
        for frame in count():
            lap, place = self.take.pairing.driving_at(frame)
            if lap != current:
                motions = self._motions()
                current, at, after = lap, -1, next(motions)
            while at < int(place):
                at, before = at + 1, after
                after = next(motions, before)
            yield DrivingMotion(before, after, float(place - at))

    def _motions(self) -> Iterator[torch.Tensor | None]:
        """One pass through the driving clip's motion."""
        if isinstance(self.take.driving, MotionTemplate):
            return self.session.recall(self.take.driving, self.take.pairing.driving_frames)
        return self.session.motions(self.driving_shots())

    def _track(self, clip: Clip, number: int, cap: int) -> Iterator[TrackedChunk]:
        """Decodes and tracks one pass through a clip, from now on, ahead of who takes the shots."""

        def shots() -> Iterator[TrackedChunk]:
            tracker = FaceTracker(device=self.device, order=self.take.options.face_order, only=number)
            own_stream = OwnStream(self.device)
            for part in self.clock.each("decode", clip.chunks(self.take.chunk, cap=cap)):
                with self.clock("track"), own_stream():
                    frames = part.frames.to(self.device)
                    landmarks, present = tracker.track(frames).face(number)
                    own_stream.hand_over(frames)
                yield TrackedChunk(frames, landmarks, present)

        ahead = Ahead(shots())
        self.stack.callback(ahead.close)

        def tracked() -> Iterator[TrackedChunk]:
            try:
                yield from ahead
            finally:
                ahead.close()

        return tracked()


def _check_faces(frames: int, lost: int, clip: str, parameter: str, number: int) -> None:
    if frames == lost:
        raise FaceNotFoundError(
            f"face {number} was found nowhere in the frames read of the {clip} clip; faces are numbered from 0 in the "
            f"first frame that shows any: look at them with the node Preview Faces or the command "
            f"`liveportrait-v2v faces`, then set {parameter}"
        )
