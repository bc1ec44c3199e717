"""The audio of a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from ..media import AudioStream, Clip
from .pairing import Pairing
from .role import Role

# A lap of fewer values is kept in memory: a short clip that repeats often would be opened as often.
_KEPT_VALUES = 1 << 22


@dataclass(frozen=True)
class Soundtrack:
    """The audio of a result.

    Attributes:
        audio: exactly as long as the result; None for none.
        origin: the clip that it comes from: "source", "driving" or None.
        notes: what of that clip's audio is lost, and which track was taken; a sentence each.
    """

    audio: AudioStream | None = None
    origin: str | None = None
    notes: tuple[str, ...] = ()


def soundtrack(source: Clip, role: Role, pairing: Pairing) -> Soundtrack:
    """Return the audio of a result.

    A still has no audio: its result takes the driving clip's unless `still_audio` is off. The audio follows its clip:
    repeated where that repeats, silent where its last frame is held. What of it is used is decoded here once, to find
    damage (`Clip.checked_audio`).
    """
    clip: Clip | object
    if role.settings.driving_audio or (source.info.is_still and role.options.still_audio):
        clip, origin, frames, step = role.driving, "driving", pairing.driving_frames, pairing.driving_step
    else:
        clip, origin, frames, step = source, "source", pairing.source_frames, Fraction(1)
    if not frames or not isinstance(clip, Clip):
        return Soundtrack()
    length = pairing.frames / pairing.rate
    lap = frames / step / pairing.rate
    checked = clip.checked_audio(min(lap, length))
    audio, notes = checked.audio, tuple(f"the {origin} clip {note}" for note in checked.notes)
    if audio is None:
        return Soundtrack(notes=notes)
    count = round(length * audio.rate)
    if pairing.repeats and lap < length:
        if audio.channels * audio.count <= _KEPT_VALUES:
            audio = audio.read().stream()
        audio = audio.repeated(count)
    return Soundtrack(replace(audio, count=count), origin, notes)
