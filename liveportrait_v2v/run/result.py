"""Progress and result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..faces.history import FirstSight
from ..media import AudioStream


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        frames: frames finished.
        total: frames in all.
        stage: the work at hand, a word or two.
        fps: frames per second since the start.
        without_face: frames so far in which a face was not found.
    """

    frames: int
    total: int
    stage: str
    fps: float
    without_face: int


@dataclass(frozen=True)
class TakenFace:
    """A face that a role took.

    Attributes:
        clip: "source" or "driving".
        first: its number, and where it is in the first frame that shows it.
        role: name of the role, None in a run with one.
    """

    clip: str
    first: FirstSight
    role: str | None = None

    def __str__(self) -> str:
        face = self.first.text(self.clip)
        return f"{self.role}: {face}" if self.role else face

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: those of `FirstSight`, the clip, and the role where there are several."""
        role = {"role": self.role} if self.role else {}
        return {**role, "clip": self.clip, **self.first.to_dict()}


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        frames: number of frames of the result.
        frames_without_source_face, frames_without_driving_face: frames in which that face was not found, summed over
            the roles: those of gaps of up to 0.2 s are bridged, the others show the source unchanged. None where the
            engine does not report it.
        source_rate, driving_rate: frames per second of the source and of the first role's driving clip, None for a
            still.
        rate: frames per second of the result.
        size: width and height of the frames (a file's sides are even: an odd one is a pixel longer there).
        duration: seconds.
        audio_source: the clip whose audio the result has: "source", "driving" (the first role's) or None.
        seconds: time spent, by stage, summed over threads, which overlap; "total" is wall-clock time.

            | stage | in which thread | what |
            |---|---|---|
            | decode | each clip's own | reading, decoding, conversion to RGB; of a hosted engine's clip: the run's |
            | track | each clip's own | upload to the device, tracking, the engine's own points |
            | render | the run's | drawing; motion is read between this and the waits |
            | wait source, wait driving | the run's | until the clip's next chunk is tracked |
            | wait sink | the run's | until the sinks have room for another chunk |
            | copy | the sinks' | until a chunk is rendered and copied to the CPU |
            | write | the sinks' | encoding and all other sinks |
            | engine | the run's | a hosted engine, start to end |
        output: the file written, None if there is none.
        audio: exactly as long as the result, None if it has none.
        notes: what the result lacks or changes of what the clips hold; where a number may go over to another person
            and where its face is lost, in frames of that clip; which frame is the reference where the first driving
            face is not neutral; what was done to make a hosted engine's clip fit the plan. A sentence each.
        job: the job of a hosted engine: its number, request id, cost, and the engine's own file; None for the others.
        faces: that were taken, of the source and of the driving clip; none of a motion template and of hosted engines.
    """

    frames: int
    frames_without_source_face: int | None
    frames_without_driving_face: int | None
    source_rate: Fraction | None
    driving_rate: Fraction | None
    rate: Fraction
    size: tuple[int, int]
    duration: Fraction
    audio_source: str | None
    seconds: dict[str, float]
    output: Path | None
    audio: AudioStream | None = field(repr=False)
    notes: tuple[str, ...] = ()
    job: dict[str, Any] | None = None
    faces: tuple[TakenFace, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: rates as text such as "30000/1001", seconds; `audio` is the audio's source."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        values["audio"] = values.pop("audio_source")
        for name in ("source_rate", "driving_rate", "rate"):
            values[name] = None if values[name] is None else str(values[name])
        values["duration"] = float(self.duration)
        values["size"] = list(self.size)
        values["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        values["output"] = None if self.output is None else str(self.output)
        values["notes"] = list(self.notes)
        values["faces"] = [face.to_dict() for face in self.faces]
        return values
