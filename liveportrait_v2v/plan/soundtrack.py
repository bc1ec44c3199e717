"""The sound of a result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ..engines.base import MotionTemplate
from ..media import Audio, Clip
from ..settings import AnimationSettings
from .pairing import Pairing


def sound_of(
    source: Clip, driving: Clip | MotionTemplate, pairing: Pairing, settings: AnimationSettings
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
