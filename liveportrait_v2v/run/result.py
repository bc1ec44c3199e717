"""What a run tells: where it is, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..media import Audio


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
