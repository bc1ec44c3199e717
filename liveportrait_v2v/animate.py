"""The flow of a run: decode, track, render, write, a chunk at a time; or whole clips to an engine and back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import torch

from .engines.base import ClipEngine, Cue, Engine, Recording, Rendered, Session, Shot, Take
from .errors import Cancelled, FaceNotFoundError, SettingsError
from .faces import FaceTracker
from .media import Audio, Clip, VideoWriter
from .pairing import Pairing, pair
from .pipeline import Ahead, Behind, OwnStream, Stopwatch, torch_thread
from .settings import AnimationSettings, MotionOptions


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        frames: frames finished.
        total: frames in all.
        stage: what is going on, a word or two.
        fps: frames per second since the start.
        without_face: frames so far that passed through unchanged for want of a face.
    """

    frames: int
    total: int
    stage: str
    fps: float
    without_face: int


@dataclass(frozen=True)
class Result:
    """What a run did.

    Attributes:
        frames: frames of the result.
        frames_without_source_face: those that show the source as it is, since its face was not found; None if the
            engine does not say.
        frames_without_driving_face: those that show the source as it is, since there was no driving face; or None.
        source_rate, driving_rate: frames per second of the clips, None for a still.
        rate: frames per second of the result.
        size: width and height of the frames (a file's sides are even: an odd one is a pixel longer there).
        duration: seconds.
        audio: whose sound the result has: "source", "driving" or None.
        seconds: time spent, by stage, summed over threads; "total" is what a clock on the wall says.
        output: the file written, None if there is none.
        sound: the result's sound, exactly as long as it, None if it has none.
        notes: what had to be done about an engine's clip to make it the result, in words.
        job: about the job of an engine that takes whole clips: its number, request id, cost, and the engine's own
            file. None for the other engines.
    """

    frames: int
    frames_without_source_face: int | None
    frames_without_driving_face: int | None
    source_rate: Fraction | None
    driving_rate: Fraction | None
    rate: Fraction
    size: tuple[int, int]
    duration: Fraction
    audio: str | None
    seconds: dict[str, float]
    output: Path | None
    sound: Audio | None = field(repr=False)
    notes: tuple[str, ...] = ()
    job: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the sound: rates as text such as "30000/1001", duration in seconds as a number."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "sound"}
        for name in ("source_rate", "driving_rate", "rate"):
            values[name] = None if values[name] is None else str(values[name])
        values["duration"] = float(self.duration)
        values["size"] = list(self.size)
        values["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        values["output"] = None if self.output is None else str(self.output)
        values["notes"] = list(self.notes)
        return values


def animate(
    source: Clip | str | os.PathLike,
    driving: Clip | Recording | str | os.PathLike,
    *,
    engine: Engine | ClipEngine,
    output: str | os.PathLike | None = None,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    sink: Callable[[torch.Tensor], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
    crf: int = 17,
) -> Result:
    """Animates the source clip's face by the driving clip's.

    Memory depends on the chunk and the frame size, not on the clips' length.

    Args:
        source: clip or still with the face to animate; for the Segmind engine also a public URL.
        driving: clip or still with the motion; as `source`, or a recording of it, for the engine that made it.
        output: video file to write, replaced when the new one is whole; None writes none.
        sink: called with each chunk of the result, uint8 [N, H, W, 3], in order, in a thread of its own.
        on_progress: called after each chunk, those that an engine looks at before the run too.
        cancelled: asked before each chunk, and several times a second while an engine has whole clips; True ends
            the run with Cancelled.
        chunk: frames at a time.
        crf: quality of the video file; lower is better and larger.

    Raises:
        MediaError: a clip can't be read, or the output not written.
        SettingsError: a setting doesn't fit the driving clip, or a recording not the engine.
        FaceNotFoundError: a chosen face is in no frame of its clip.
        Cancelled: `cancelled` said so.
        LivePortraitError: whatever else an engine that takes whole clips raises.
        Whatever happens, no half-written file is left.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    if isinstance(engine, ClipEngine):
        run = _WholeClips(engine, settings, options, output, sink, on_progress, cancelled, chunk, crf)
        return run.animate(source, driving)
    source = source if isinstance(source, Clip) else Clip(source)
    if isinstance(driving, Recording):
        if driving.engine != engine.name:
            raise SettingsError(
                f"a recording's engine must be the run's, {driving.engine}, got the {engine.name} engine"
            )
    elif not isinstance(driving, Clip):
        driving = Clip(driving)
    pairing = pair(source.info, driving.info, settings, options)
    sound, whose = _sound(source, driving, pairing, settings)
    clock, start = Stopwatch(), time.perf_counter()
    session = engine.session(settings, options, source.info.rate, driving.info.rate)
    done = lost_source = lost_driving = 0

    with ExitStack() as stack:
        sinks = [] if sink is None else [sink]
        if output is not None:
            writer = stack.enter_context(VideoWriter(output, pairing.rate, audio=sound, crf=crf))
            sinks.append(writer.write)
        behind = stack.enter_context(Behind(lambda frames: _feed(sinks, frames, clock)))
        render = _renderer(engine, session, stack)
        run = _Run(pairing, session, settings, options, engine.device, chunk, clock, stack)
        run.survey(driving, on_progress, cancelled)
        cues = run.cues(driving)
        for shot in run.source_shots(source):
            if cancelled is not None and cancelled():
                raise Cancelled(f"stopped after {done} of {pairing.frames} frames")
            here = [next(cues) for _ in range(len(shot))]
            with clock("render"):
                frames = render(shot, here)
            behind.put(frames)
            done += len(shot)
            lost_source += len(shot) - int(shot.present.sum())
            lost_driving += sum(cue.missing for cue in here)
            if on_progress is not None:
                speed = done / (time.perf_counter() - start)
                on_progress(
                    Progress(done, pairing.frames, "animating", speed, max(lost_source, lost_driving))
                )
        _check_faces(done, lost_source, "source", "input_face_index", settings.input_face_index)
        _check_faces(done, lost_driving, "driving", "drive_face_index", settings.drive_face_index)

    return Result(
        frames=done,
        frames_without_source_face=lost_source,
        frames_without_driving_face=lost_driving,
        source_rate=source.info.rate,
        driving_rate=driving.info.rate,
        rate=pairing.rate,
        size=source.output_size(),
        duration=done / pairing.rate,
        audio=whose,
        seconds={**clock.seconds(), "total": time.perf_counter() - start},
        output=None if output is None else Path(output),
        sound=sound,
    )


def _renderer(
    engine: Engine, session: Session, stack: ExitStack
) -> Callable[[Shot, list[Cue]], torch.Tensor]:
    """The session's `render`, on as many cores as the engine wants."""
    if engine.render_threads is None:
        return session.render
    thread = stack.enter_context(torch_thread(engine.render_threads))
    return lambda shot, cues: thread.submit(session.render, shot, cues).result()


def _feed(sinks: list[Callable[[torch.Tensor], object]], frames: torch.Tensor, clock: Stopwatch) -> None:
    with clock("write"):
        for sink in sinks:
            sink(frames)


@dataclass
class _Run:
    """What the two sides of a run share."""

    pairing: Pairing
    session: Session
    settings: AnimationSettings
    options: MotionOptions
    device: str
    chunk: int
    clock: Stopwatch
    stack: ExitStack

    def source_shots(self, clip: Clip) -> Iterator[Shot]:
        """The source as the result shows it: repeated, held or cut to the result's length."""
        left = self.pairing.frames
        while left:
            for shot in self.session.source(self._track(clip, self.settings.input_face_index, left)):
                yield shot
                left -= len(shot)
            if not (self.pairing.source_frames and self.pairing.repeats):
                break
        while left:
            n = min(self.chunk, left)
            yield shot.hold(n)
            left -= n

    def survey(
        self,
        driving: Clip | Recording,
        on_progress: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        """Shows the session the driving clip, as far as it asks for it; a recording has nothing to see."""
        if isinstance(driving, Recording):
            return

        def shots() -> Iterator[Shot]:
            for shot in self._track(driving, self.settings.drive_face_index, self.pairing.driving_frames):
                if cancelled is not None and cancelled():
                    raise Cancelled("stopped while looking at the driving clip")
                if on_progress is not None:
                    on_progress(Progress(0, self.pairing.frames, "looking at the driving clip", 0.0, 0))
                yield shot

        self.session.survey(shots())

    def cues(self, driving: Clip | Recording) -> Iterator[Cue]:
        """What leads each frame of the result, without end."""
        current = -1
        for frame in count():
            lap, place = self.pairing.driving_at(frame)
            if lap != current:
                motions = self._motions(driving)
                current, at, before = lap, 0, next(motions)
                after = next(motions, before)
            while at < int(place):
                at, before = at + 1, after
                after = next(motions, before)
            yield Cue(before, after, float(place - at))

    def _motions(self, driving: Clip | Recording) -> Iterator[torch.Tensor | None]:
        """One pass through the driving clip's motion."""
        if isinstance(driving, Recording):
            return self.session.recall(driving, self.pairing.driving_frames)
        shots = self._track(driving, self.settings.drive_face_index, self.pairing.driving_frames)
        return self.session.motions(shots)

    def _track(self, clip: Clip, number: int, cap: int) -> Iterator[Shot]:
        """Decodes and tracks one pass through a clip, ahead of who takes the shots."""

        def shots() -> Iterator[Shot]:
            tracker = FaceTracker(device=self.device, order=self.options.face_order, only=number)
            own_stream = OwnStream(self.device)
            for part in self.clock.each("decode", clip.chunks(self.chunk, cap=cap)):
                with self.clock("track"), own_stream():
                    frames = part.frames.to(self.device)
                    landmarks, present = tracker.track(frames).face(number)
                    own_stream.hand_over(frames)
                yield Shot(frames, landmarks, present)

        ahead = Ahead(shots())
        self.stack.callback(ahead.close)
        try:
            yield from ahead
        finally:
            ahead.close()


@dataclass
class _WholeClips:
    """A run of an engine that takes whole clips."""

    engine: ClipEngine
    settings: AnimationSettings
    options: MotionOptions
    output: str | os.PathLike | None
    sink: Callable[[torch.Tensor], None] | None
    on_progress: Callable[[Progress], None] | None
    cancelled: Callable[[], bool] | None
    chunk: int
    crf: int

    def animate(self, *inputs: Clip | str | os.PathLike) -> Result:
        clock, start = Stopwatch(), time.perf_counter()
        source, driving = (
            clip if isinstance(clip, Clip) else self.engine.clip(clip, self.cancelled) for clip in inputs
        )
        pairing = pair(source.info, driving.info, self.settings, self.options)
        sound, whose = _sound(source, driving, pairing, self.settings)
        take = Take(source, driving, self.settings, self.options, pairing, sound, whose, self.chunk)
        with ExitStack() as stack:
            sinks = [] if self.sink is None else [self.sink]
            if self.output is not None:
                # Before the engine starts: a place that can't be written to is no reason to pay.
                writer = VideoWriter(self.output, pairing.rate, audio=sound, crf=self.crf)
                sinks.append(stack.enter_context(writer).write)
            with clock("engine"):
                rendered = self.engine.animate(
                    take, on_state=lambda state: self._tell(0, pairing, state.text), cancelled=self.cancelled
                )
            behind = stack.enter_context(Behind(lambda frames: _feed(sinks, frames, clock)))
            self._pass_on(rendered, pairing, behind, clock)
        return Result(
            frames=pairing.frames,
            frames_without_source_face=None,
            frames_without_driving_face=None,
            source_rate=source.info.rate,
            driving_rate=driving.info.rate,
            rate=pairing.rate,
            size=source.output_size(),
            duration=pairing.frames / pairing.rate,
            audio=whose,
            seconds={**clock.seconds(), "total": time.perf_counter() - start},
            output=None if self.output is None else Path(self.output),
            sound=sound,
            notes=rendered.notes,
            job=rendered.job,
        )

    def _pass_on(self, rendered: Rendered, pairing: Pairing, behind: Behind, clock: Stopwatch) -> None:
        done = 0
        for frames in clock.each("decode", rendered.frames):
            if self.cancelled is not None and self.cancelled():
                raise Cancelled(f"stopped after {done} of {pairing.frames} frames")
            behind.put(frames)
            done += len(frames)
            self._tell(done, pairing, "writing")

    def _tell(self, done: int, pairing: Pairing, stage: str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(done, pairing.frames, stage, 0.0, 0))


def _sound(
    source: Clip, driving: Clip | Recording, pairing: Pairing, settings: AnimationSettings
) -> tuple[Audio | None, str | None]:
    """The result's sound, which follows its clip: repeated where that is repeated, silent where it is held."""
    if settings.driving_audio:
        clip, whose, frames, step = driving, "driving", pairing.driving_frames, pairing.driving_step
    else:
        clip, whose, frames, step = source, "source", pairing.source_frames, Fraction(1)
    if not frames or clip.info.audio is None:
        return None, None
    length = pairing.frames / pairing.rate
    lap = frames / step / pairing.rate
    audio = clip.audio(min(lap, length))
    heard, count = audio.samples, round(length * audio.rate)
    if pairing.repeats and lap < length:
        heard = heard.repeat(1, int(-(-length // lap)))
    samples = heard.new_zeros(len(heard), count)
    samples[:, : heard.shape[1]] = heard[:, :count]
    audio = replace(audio, samples=samples)
    return audio, whose


def _check_faces(frames: int, lost: int, clip: str, parameter: str, number: int) -> None:
    if frames == lost:
        raise FaceNotFoundError(
            f"face {number} was found nowhere in the frames read of the {clip} clip; faces are numbered from 0 in the "
            f"first frame that shows any: look at them with the node Preview Faces or the command "
            f"`liveportrait-v2v faces`, then set {parameter}"
        )
