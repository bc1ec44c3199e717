"""A take as the hosted model gets it: what is refused, what makes two the same, and what is sent."""

from __future__ import annotations

import hashlib
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SettingsError
from ...media import Clip
from ...settings import MotionOptions
from ..base import RunPlan
from .endpoints import CLIPS, MODEL
from .prepare import driving_numbers, prepare, source_numbers


class RemoteClip(Clip):
    """A clip at a public URL, with a copy here in a folder that lives as long as this object."""

    def __init__(self, url: str, folder: Path):
        super().__init__(folder / "clip.mp4")
        self.url = url
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def check(take: RunPlan) -> None:
    """
    Raises:
        SettingsError: an option that the hosted model does not know differs from its default; or a driving clip that
            is only a URL would have to be resampled.
    """
    if isinstance(take.driving, RemoteClip) and take.pairing.driving_step != 1:
        raise SettingsError(
            f"pairing must be 'frame' for a driving clip that is given as a URL and has another frame rate "
            f"({float(take.driving.info.rate):.5g}) than the result ({float(take.pairing.rate):.5g}), got 'time': it "
            "goes out as it is; set pairing=frame, or give the file itself"
        )
    defaults = MotionOptions().to_dict()
    for name, value in take.options.to_dict().items():
        if name != "pairing" and value != defaults[name]:
            raise SettingsError(
                f"{name} must be {defaults[name]!r} for the Segmind engine, got {value!r}: the hosted model does not "
                "know it; leave it out, or take a local engine"
            )


def payload_of(take: RunPlan, source_url: str, driving_url: str) -> dict[str, Any]:
    """What is sent, with the documented names and types. Clips that were prepared are cut and paired already."""
    values = take.settings.to_dict()
    if not isinstance(take.driving, RemoteClip):
        values["video_frame_load_cap"] = take.pairing.frames
    values["driving_audio"] = take.audio_of == "driving"
    return {**dict(zip(CLIPS, (source_url, driving_url), strict=True)), **values}


def hash_of(take: RunPlan, base: str, seed: int) -> str:
    """What makes two jobs the same: the clips' content and trim windows, the settings, the server, and the seed.

    A clip that is only a URL is told by that.
    """
    wish = {
        "model": MODEL,
        "base": base,
        "source": _identity(take.source),
        "driving": _identity(take.driving),
        "settings": take.settings.to_dict(),
        "pairing": take.options.pairing,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()


def prepare_clips(take: RunPlan, folder: Path, stop: Callable[[], bool]) -> list[Path | str]:
    """Source and driving clip as they go up: files, written into the folder where need be, and URLs as they are.

    Raises:
        Cancelled: `stop` said so.
        MediaError: a clip can't be read, or a file not written.
    """
    ready: list[Path | str] = []
    for name, clip, numbers in (
        ("source", take.source, source_numbers),
        ("driving", take.driving, driving_numbers),
    ):
        if isinstance(clip, RemoteClip):
            ready.append(clip.url)
            continue
        sound = take.sound if take.audio_of == name else None
        ready.append(prepare(clip, numbers(take.pairing), take.pairing, sound, folder / f"{name}.mp4", stop))
    return ready


def _identity(clip: Clip) -> Any:
    if isinstance(clip, RemoteClip):
        return clip.url
    start, duration = clip.window
    return [clip.digest(), str(start), str(duration)]


def name_of(clip: Clip) -> str:
    """For people, in a list."""
    return clip.url.partition("?")[0][-60:] if isinstance(clip, RemoteClip) else Path(clip.name).name[-60:]
