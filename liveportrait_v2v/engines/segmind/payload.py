"""Conversion of a plan to a job of the hosted model: checks, hash, clips and payload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SettingsError
from ...files import TemporaryFolder
from ...media import Clip
from ...plan import RunPlan
from ...text import one_line
from .endpoints import CLIPS, MODEL
from .prepare import driving_numbers, prepare, source_numbers


class RemoteClip(Clip):
    """Clip at a public URL, with a local copy in a folder that is deleted with this object."""

    def __init__(self, url: str, folder: TemporaryFolder):
        super().__init__(folder.path / "clip.mp4")
        self.url = url
        self._folder = folder


def check(plan: RunPlan) -> None:
    """Check that the hosted model can do what a plan asks for.

    Raises:
        SettingsError: a driving clip that is only a URL would have to be resampled.
    """
    role, pairing = plan.single()
    if isinstance(role.driving, RemoteClip) and pairing.driving_step != 1:
        raise SettingsError(
            f"pairing must be 'frame' for a driving clip that is given as a URL and has another frame rate "
            f"({float(pairing.rate * pairing.driving_step):.5g}) than the result ({float(pairing.rate):.5g}), got "
            "'time': it goes out as it is; set pairing=frame, or give the file itself"
        )


def payload_of(plan: RunPlan, source_url: str, driving_url: str) -> dict[str, Any]:
    """Return the payload, with the documented names and types, for prepared clips."""
    role, pairing = plan.single()
    values = role.settings.to_dict()
    if not isinstance(role.driving, RemoteClip):
        values["video_frame_load_cap"] = pairing.frames
    values["driving_audio"] = plan.audio_source == "driving"
    return {**dict(zip(CLIPS, (source_url, driving_url), strict=True)), **values}


def hash_of(plan: RunPlan, base: str, seed: int) -> str:
    """Return the SHA-256 that identifies a job: of the clips' content and windows, settings, server and seed.

    A clip that is only a URL is identified by its URL.
    """
    role, _ = plan.single()
    identity = {
        "model": MODEL,
        "base": base,
        "source": _identity(plan.source),
        "driving": _identity(driving_clip(plan)),
        # How the result is sent makes no other job.
        "settings": {**role.settings.to_dict(), "base64": False},
        "pairing": role.options.pairing,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def prepare_clips(plan: RunPlan, folder: Path, stop: Callable[[], bool]) -> list[Path | str]:
    """Return source and driving clip ready for upload: files, written to the folder if necessary, or URLs.

    Raises:
        Cancelled: `stop` returned True.
        MediaError: a clip can't be read, or a file can't be written.
    """
    _, pairing = plan.single()
    ready: list[Path | str] = []
    for name, clip, numbers in (
        ("source", plan.source, source_numbers),
        ("driving", driving_clip(plan), driving_numbers),
    ):
        if isinstance(clip, RemoteClip):
            ready.append(clip.url)
            continue
        audio = plan.audio if plan.audio_source == name else None
        ready.append(prepare(clip, numbers(pairing), pairing, audio, folder / f"{name}.mp4", stop))
    return ready


def driving_clip(plan: RunPlan) -> Clip:
    """Return the driving clip of a plan; the run has already refused motion templates."""
    driving = plan.single()[0].driving
    assert isinstance(driving, Clip)
    return driving


def _identity(clip: Clip) -> Any:
    if isinstance(clip, RemoteClip):
        return clip.url
    start, duration = clip.window
    return [clip.digest(), str(start), str(duration)]


def name_of(clip: Clip) -> str:
    """Return the name of a clip for users."""
    name = clip.url.partition("?")[0] if isinstance(clip, RemoteClip) else Path(clip.name).name
    return one_line(name[-60:])
