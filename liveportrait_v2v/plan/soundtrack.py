"""The audio of a result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ..media import Audio, Clip
from .pairing import Pairing
from .role import Role


def soundtrack(source: Clip, role: Role, pairing: Pairing) -> tuple[Audio | None, str | None]:
    """Return the result's audio, exactly as long as the result, and its origin: "source", "driving" or None.

    The audio follows its clip: repeated where that repeats, silent where its last frame is held.
    """
    clip: Clip | object
    if role.settings.driving_audio:
        clip, origin, frames, step = role.driving, "driving", pairing.driving_frames, pairing.driving_step
    else:
        clip, origin, frames, step = source, "source", pairing.source_frames, Fraction(1)
    if not frames or not isinstance(clip, Clip):
        return None, None
    length = pairing.frames / pairing.rate
    lap = frames / step / pairing.rate
    audio = clip.audio(min(lap, length))
    if audio is None:
        return None, None
    heard, count = audio.samples, round(length * audio.rate)
    if pairing.repeats and lap < length:
        heard = heard.repeat(1, int(-(-length // lap)))
    samples = heard.new_zeros(len(heard), count)
    samples[:, : heard.shape[1]] = heard[:, :count]
    return replace(audio, samples=samples), origin
