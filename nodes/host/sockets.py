"""Values of sockets: clips behind VIDEO, IMAGE and AUDIO, and what nodes give back."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from comfy_api.latest import InputImpl, io

from ...liveportrait_v2v.errors import SettingsError
from . import language
from .paths import temp_file

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...liveportrait_v2v.media import Audio, AudioStream, Clip
    from ...liveportrait_v2v.plan import MotionTemplate

NEAR_LOSSLESS = 12
"""Constant rate factor of files that faces are cropped from."""
_SILENT_RATE = 44100


def clips(
    *values: Any,
    at_url: Callable[[str], Clip] | None = None,
    audio: dict[str, Any] | None = None,
    rate: float | Fraction = 0,
) -> list[Any]:
    """Return the clips behind VIDEO and IMAGE values, or URLs; motion templates stay what they are, and None is None.

    One image is a still. A batch of several is a clip; as an IMAGE has no frame rate, it takes that of the first
    value that has one, or 25. The same value gives the same clip.

    Args:
        audio, rate: AUDIO and frames per second of the first value, if that is a batch of images; 0 = unknown.

    Raises:
        MediaError: a video can't be read.
        SettingsError: there is audio for a first value that isn't a batch.
    """
    if audio is not None and not (_is_image(values[0]) and len(values[0]) > 1):
        got = "one picture, whose result has the driving clip's" if _is_image(values[0]) else "a video"
        raise SettingsError(
            f"source_audio is the sound of a batch of images, and its clip is {got}: unlink it"
        )
    distinct = {id(value): value for value in values}
    made: dict[int, Any] = {
        key: None if value is None else _clip(value, at_url)
        for key, value in distinct.items()
        if not _is_image(value)
    }
    rates = [clip.info.rate for clip in made.values() if clip is not None and clip.info.rate]
    if rate:
        # Through its decimal text, so that 29.97 is exactly 2997/100.
        rates.insert(0, Fraction(str(rate)))
    usual = rates[0] if rates else Fraction(25)
    for key, value in distinct.items():
        if key not in made:
            made[key] = _clip_of_images(value, usual, audio if key == id(values[0]) else None)
    return [made[id(value)] for value in values]


def _clip(value: Any, at_url: Callable[[str], Clip] | None) -> Clip | MotionTemplate:
    """Return the clip behind a VIDEO or a URL; a motion template as it is."""
    from ...liveportrait_v2v.plan import MotionTemplate

    if isinstance(value, MotionTemplate):
        return value
    if isinstance(value, str) and at_url is not None:
        return at_url(value)
    return _clip_of_video(value)


def _is_image(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def is_rgba(value: Any) -> bool:
    """Return whether a value is an IMAGE with alpha."""
    return _is_image(value) and value.shape[-1] == 4


def _clip_of_images(images: torch.Tensor, rate: Fraction, audio: dict[str, Any] | None) -> Clip:
    from ...liveportrait_v2v.media import Clip, Frames

    return Clip(Frames(images, rate if len(images) > 1 else None, *_audio_of(audio)))


def _clip_of_video(video: Any) -> Clip:
    """Return the clip behind a VIDEO: its file, read inside the trim window, or the frames it was made of.

    Edits that core has only noted, such as a crop, are written to a file first, and so are images in HDR.
    """
    from ...liveportrait_v2v.media import Clip

    if isinstance(video, InputImpl.VideoFromComponents):
        hdr = hasattr(video, "get_color_space") and video.get_color_space().startswith("HDR")
        # Its stream source would be an encoding of these, with a loss.
        return _clip_as_written(video) if hdr else _clip_of_components(video)
    if _has_edits(video):
        return _clip_as_written(video)
    start, duration = _trim_window(video)
    return Clip(video.get_stream_source(), start=start, duration=duration or None)


def _clip_of_components(video: Any) -> Clip:
    import torch

    from ...liveportrait_v2v.media import Clip, Frames

    parts = video.get_components()
    images, alpha = parts.images, getattr(parts, "alpha", None)
    if alpha is not None:
        images = torch.cat((images, alpha.reshape(*images.shape[:3], 1)), 3)
    return Clip(Frames(images, Fraction(parts.frame_rate), *_audio_of(parts.audio)))


def _has_edits(video: Any) -> bool:
    """Return whether a VIDEO shows other frames than its stream source has: core has cropped or resized it."""
    if hasattr(video, "has_pending_frame_edits"):
        return video.has_pending_frame_edits()
    if not (hasattr(video, "as_cropped") and isinstance(video, InputImpl.VideoFromFile)):
        return False
    # Cores 0.35 and later keep a crop to themselves; it is always smaller than the stream.
    from ...liveportrait_v2v.media.pyav import open_input

    with open_input(video.get_stream_source()) as container:
        stream = container.streams.video[0]
        return video.get_dimensions() != (stream.width, stream.height)


_written: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def _clip_as_written(video: Any) -> Clip:
    """Return the clip of a VIDEO as core writes it, with all its edits and trimmed; the same file each time.

    Raises:
        SettingsError: it has alpha, which core doesn't write, and doesn't fit into the memory that is free.
    """
    from ...liveportrait_v2v.media import Clip

    if isinstance(video, InputImpl.VideoFromFile):
        whole = Clip(video.get_stream_source())
        if whole.info.has_alpha:
            width, height = video.get_dimensions()
            # Twice four channels, as core stacks the frames that it has gathered.
            _check_memory(whole.output_count(), height, width, 8, "crop a shorter file, or one without alpha")
            return _clip_of_components(video)
    path = _written.get(video)
    if path is None or not path.exists():
        path = temp_file(".mp4")
        video.save_to(str(path), crf=NEAR_LOSSLESS)
        _written[video] = path
    return Clip(path)


def _audio_of(value: Any) -> tuple[Audio | None, tuple[str, ...]]:
    """Return the samples of an AUDIO, the first of its batch, or None, and notes as in `ClipInfo.audio_notes`."""
    from ...liveportrait_v2v.media import Audio

    if value is None:
        return None, ()
    try:
        return Audio(value["waveform"][0].float(), int(value["sample_rate"])), ()
    except Exception as error:  # other nodes' values may decode a file only when they are read
        return None, (f"has audio that can't be read ({error}); it is left out",)


def _trim_window(video: Any) -> tuple[float, float]:
    """Return start and duration in seconds; a duration of 0 means to the end."""
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    # Cores before 0.23 keep it to themselves.
    start = getattr(video, "_VideoFromFile__start_time", 0.0)
    duration = getattr(video, "_VideoFromFile__duration", 0.0)
    if start < 0:
        start = max(0.0, video._get_raw_duration() + start)
    return start, duration


def video_value(path: Path):
    """Return a VIDEO of a file."""
    return InputImpl.VideoFromFile(str(path))


def audio_value(audio: AudioStream | None, seconds: Fraction) -> Any:
    """Return an AUDIO: float32 [1, C, T]; of no audio, silence of this length, as no node of ComfyUI's takes None.

    It is absent if it doesn't fit into the memory that is free.
    """
    import torch
    from comfy.model_management import get_free_memory

    if audio is None:
        return {"waveform": torch.zeros(1, 2, round(seconds * _SILENT_RATE)), "sample_rate": _SILENT_RATE}
    needed, free = 4 * audio.channels * audio.count, get_free_memory(torch.device("cpu"))
    if needed > free:
        return blocked(
            f"{audio.count / audio.rate:.0f} s of audio as AUDIO need {needed / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free; take it from the video output, or shorten the clip"
        )
    return {"waveform": audio.read().samples.unsqueeze(0), "sample_rate": audio.rate}


def image_value(picture: Image.Image) -> torch.Tensor:
    """Return an IMAGE of one picture: float32 [1, H, W, 3]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(picture.convert("RGB"))).unsqueeze(0).float().div_(255)


def empty_images(count: int, height: int, width: int, remedy: str, channels: int = 3) -> torch.Tensor:
    """Allocate an IMAGE batch, float32 [count, height, width, channels].

    Raises:
        SettingsError: it would not fit into the memory that is free; the message ends with the remedy.
    """
    import torch

    _check_memory(count, height, width, channels, remedy)
    return torch.empty((count, height, width, channels))


def _check_memory(count: int, height: int, width: int, channels: int, remedy: str) -> None:
    """Check that so many frames fit into the memory that is free.

    Raises:
        SettingsError: they don't; the message ends with the remedy.
    """
    import torch
    from comfy.model_management import get_free_memory

    needed, free = 4 * math.prod((count, height, width, channels)), get_free_memory(torch.device("cpu"))
    if needed > free:
        raise SettingsError(
            f"{count} frames of {width}x{height} as IMAGE need {needed / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free; {remedy}"
        )


def blocked(message: str):
    """Return an output that is absent: nodes linked to it end with this message."""
    from comfy_execution.graph import ExecutionBlocker

    return ExecutionBlocker(language.shown(message))


def is_linked(node: type[io.ComfyNode], slot: int) -> bool | None:
    """Return whether another node of the graph takes this output of a node.

    Returns:
        None where that is unknown: a node that another one put into the graph is in no prompt.
    """
    own = node.hidden.unique_id
    prompts = [node.hidden.prompt] if node.hidden.prompt else _running_prompts()
    around = next((prompt for prompt in prompts if own in prompt), None)
    if around is None:
        return None
    inputs = (value for other in around.values() for value in other["inputs"].values())
    return any(value == [own, slot] for value in inputs)


def _running_prompts() -> list[dict[str, Any]]:
    """Return the prompts that ComfyUI is working on: nodes don't get theirs before they run."""
    from server import PromptServer

    queue = getattr(PromptServer.instance, "prompt_queue", None)
    return [] if queue is None else [item[2] for item in list(queue.currently_running.values())]
